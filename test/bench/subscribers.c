#define _GNU_SOURCE
#include "subscribers.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "connections.h"

#define READ_BYTES (256 * 1024)
/* Of all acks for what one read brought; a PUBLISH has at least four bytes, and so has a PUBACK. */
#define ACK_BYTES READ_BYTES

struct subscriber {
  int fd;
  uint8_t *in;
  uint32_t in_length;
};

static int poll_fd;
static pthread_t thread;
static int has_started;
static _Atomic uint64_t copies;

static int subscriber_socket(uint16_t port, uint32_t number, uint32_t qos) {
  uint8_t connect_packet[] = {0x10, 16, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, 4, 's', 'u', 'b', '0'};
  uint8_t subscribe_packet[] = {0x82, 6, 0, 1, 0, 1, '#', (uint8_t)qos};
  connect_packet[sizeof connect_packet - 1] = (uint8_t)('0' + number);
  int fd = connected_socket(port);
  send_all(fd, connect_packet, sizeof connect_packet);
  expect_connack(fd);
  send_all(fd, subscribe_packet, sizeof subscribe_packet);
  uint8_t suback[5];
  if (recv(fd, suback, sizeof suback, MSG_WAITALL) != sizeof suback || suback[0] != 0x90 || suback[4] != qos)
    fail("no SUBACK, or not at QoS %u", qos);
  return fd;
}

/* Length of a packet with its header; 0: its header is not complete. `body_at`: where its header ends. */
static uint32_t packet_length(const uint8_t *p, uint32_t have, uint32_t *body_at) {
  uint32_t length = 0;
  for (uint32_t i = 1; i < have; i++) {
    if (i > 4) fail("a packet's length is malformed");
    length |= (uint32_t)(p[i] & 0x7f) << (7 * (i - 1));
    if (p[i] & 0x80) continue;
    *body_at = i + 1;
    return *body_at + length;
  }
  return 0;
}

/* Counts what is complete, puts PUBACKs to `acks` and gives how many bytes of them there are. */
static uint32_t take_copies(struct subscriber *s, uint8_t *acks) {
  uint32_t at = 0, ack_bytes = 0, count = 0;
  for (uint32_t length, body; at < s->in_length; at += length) {
    const uint8_t *p = s->in + at;
    length = packet_length(p, s->in_length - at, &body);
    if (length == 0 || at + length > s->in_length) break;
    if (p[0] >> 4 != 3) fail("a subscriber got a packet of type %u", p[0] >> 4);
    count++;
    if ((p[0] & 6) == 0) continue;
    const uint8_t *id = p + body + 2 + ((uint32_t)p[body] << 8 | p[body + 1]);
    memcpy(acks + ack_bytes, (uint8_t[]){0x40, 2, id[0], id[1]}, 4);
    ack_bytes += 4;
  }
  atomic_fetch_add_explicit(&copies, count, memory_order_relaxed);
  s->in_length -= at;
  memmove(s->in, s->in + at, s->in_length);
  return ack_bytes;
}

static void read_copies(struct subscriber *s) {
  static uint8_t acks[ACK_BYTES];
  ssize_t n = recv(s->fd, s->in + s->in_length, READ_BYTES - s->in_length, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) fail("a subscriber's connection was closed");
  s->in_length += (uint32_t)n;
  uint32_t ack_bytes = take_copies(s, acks);
  if (ack_bytes > 0) send_all(s->fd, acks, ack_bytes);
}

static void *read_forever(void *none) {
  static struct epoll_event events[64];
  for (;;) {
    int n = epoll_wait(poll_fd, events, 64, -1);
    if (n < 0 && errno != EINTR) fail("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < n; i++) read_copies(events[i].data.ptr);
  }
  return none;
}

void start_subscribers(uint16_t port, uint32_t count, uint32_t qos) {
  if (count == 0) return;
  if (count > 10) fail("at most 10 subscribers");
  poll_fd = epoll_create1(0);
  for (uint32_t i = 0; i < count; i++) {
    struct subscriber *s = calloc(1, sizeof *s);
    s->in = malloc(READ_BYTES);
    s->fd = subscriber_socket(port, i, qos);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, s->fd, &event) != 0) fail("epoll_ctl: %s", strerror(errno));
  }
  if (pthread_create(&thread, NULL, read_forever, NULL) != 0) fail("no thread for the subscribers");
  has_started = 1;
}

uint64_t copies_until_now(void) {
  return atomic_load_explicit(&copies, memory_order_relaxed);
}

double subscribers_processor_ms(void) {
  clockid_t clock;
  struct timespec t;
  if (!has_started || pthread_getcpuclockid(thread, &clock) != 0 || clock_gettime(clock, &t) != 0) return 0;
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}
