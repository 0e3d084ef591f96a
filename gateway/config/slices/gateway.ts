/** Configuration of the gateway as a whole. */
import { duration, leaf, name, nullable, path, section } from '../fields.ts'

export const gatewaySlice = section('The gateway as a whole.', {
  id: nullable(
    name(
      'Name of this gateway in every record id. null: derived once from the host name and stored in the spool; only an explicit change counts.',
    ),
  ).prefault(null),
  dataDir: leaf(path('Folder of the spool. One process owns it.')).prefault('./data'),
  // Below the 30 s that Kubernetes gives a container before it kills it.
  stopTimeout: leaf(
    duration(
      'How long a stop may take to finish requests in progress before it becomes a hard one.',
      {
        min: 0,
      },
    ),
  ).prefault('20s'),
})
