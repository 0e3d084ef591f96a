/** The suite of the sink port over the Kafka sink. */
import { describeConformance } from '../../conformance.ts'
import { kafkaHarness } from '../harness.ts'

describeConformance('kafka', kafkaHarness)
