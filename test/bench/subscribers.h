/*
 * Local subscribers on `#` beside the load, on a thread of their own: each reads as soon as there is something, counts its copies
 * and, at QoS 1, acknowledges each at once. What they take is no time of the publisher's, and no pause of it delays their acks.
 */
#ifndef SUBSCRIBERS_H
#define SUBSCRIBERS_H

#include <stdint.h>

/* Connects and subscribes so many, and begins to read. Returns when all are subscribed. */
void start_subscribers(uint16_t port, uint32_t count, uint32_t qos);

/* What all of them were sent until now. */
uint64_t copies_until_now(void);

/* Processor of their thread until now; 0 without subscribers. */
double subscribers_processor_ms(void);

#endif
