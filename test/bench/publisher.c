/*
 * The load of publisher.ts, compiled: the same frames, windows, pace and figures at a fraction of the processor, so that what is
 * measured is the system and not its load. One thread, one epoll, and those of the subscribers. publisher.ts says what the options and figures mean.
 *
 *   publisher FRAMES port qos window warmupMs measureMs messagesPerSecond seed subscribers subscriberQos
 *
 * messagesPerSecond: -1 as fast as acks allow, 0 nothing is sent. subscribers: so many subscribe to `#` and count what they are
 * sent (subscribers.h). FRAMES, written by compiled-publisher.ts, little-endian: u32 devices; for each device its CONNECT (u32
 * length, bytes), u32 frames, for each frame u32 length, u32 offset of the packet id, bytes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "connections.h"
#include "subscribers.h"

/* As in publisher.ts. */
#define PACE_TICK_MS 2
#define CONNECTS_AT_A_TIME 200
#define SAMPLE_EVERY 8
#define MAX_PACKET_IDS 65535
#define READ_BYTES (256 * 1024)
/*
 * At full load the publisher reads so far apart: whatever acks came meanwhile cost one read and one write for each connection.
 * Reading each ack by itself took 95 % of a core at 190,000 acks a second of a broker that sends them one by one, this 53 %
 * at 230,000; a window of 20 messages takes 4 to 10 ms there and back.
 */
#define READ_PAUSE_US 300

struct frame {
  const uint8_t *bytes;
  uint32_t length;
  uint32_t id_at;
};

struct device {
  int fd;
  const struct frame *frames;
  uint32_t frame_count, next_frame;
  uint32_t id, free;
  double *sent_at;
  /* The head of a packet whose rest has not come yet. */
  uint8_t rest[4];
  uint32_t rest_length;
  /* What the socket did not take yet. */
  uint8_t *out;
  size_t out_length, out_capacity;
  int waits_for_room;
};

static uint32_t qos, window, ids;
static double rate;
static struct device *devices;
static uint32_t device_count;
static int poll_fd;
static int measuring;
static uint64_t completed, total;
static double *latencies;
static size_t latency_count, latency_capacity;

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static double processor_ms(void) {
  struct rusage u;
  getrusage(RUSAGE_THREAD, &u);
  return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e3;
}

/* splitmix64 (Steele, Lea, Flood 2014), from 0 up to, not including, 1. */
static uint64_t random_state;
static double random_next(void) {
  uint64_t z = (random_state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return (double)((z ^ (z >> 31)) >> 11) / (double)(1ull << 53);
}

static uint8_t *room(struct device *d, size_t bytes) {
  if (d->out_length + bytes > d->out_capacity) {
    d->out_capacity = (d->out_length + bytes) * 2;
    d->out = realloc(d->out, d->out_capacity);
    if (d->out == NULL) fail("no memory for a device's messages");
  }
  return d->out + d->out_length;
}

static void watch(struct device *d, int for_room) {
  struct epoll_event event = {.events = EPOLLIN | (for_room ? EPOLLOUT : 0), .data.ptr = d};
  if (epoll_ctl(poll_fd, EPOLL_CTL_MOD, d->fd, &event) != 0) fail("epoll_ctl: %s", strerror(errno));
  d->waits_for_room = for_room;
}

static void flush_out(struct device *d) {
  size_t at = 0;
  while (at < d->out_length) {
    ssize_t n = send(d->fd, d->out + at, d->out_length - at, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN) fail("a connection broke: %s", strerror(errno));
    if (n < 0) break;
    at += (size_t)n;
  }
  d->out_length -= at;
  memmove(d->out, d->out + at, d->out_length);
  if ((d->out_length > 0) != d->waits_for_room) watch(d, d->out_length > 0);
}

/* Puts up to `count` messages behind what waits, as the window allows. The caller flushes. */
static uint32_t put_messages(struct device *d, uint32_t count) {
  uint32_t sending = count < d->free ? count : d->free;
  double now = sending == 0 ? 0 : now_ms();
  for (uint32_t i = 0; i < sending; i++) {
    const struct frame *f = &d->frames[d->next_frame];
    d->next_frame = (d->next_frame + 1) % d->frame_count;
    d->id = d->id % ids + 1;
    uint8_t *to = room(d, f->length);
    memcpy(to, f->bytes, f->length);
    to[f->id_at] = (uint8_t)(d->id >> 8);
    to[f->id_at + 1] = (uint8_t)d->id;
    d->out_length += f->length;
    d->sent_at[d->id % window] = now;
  }
  d->free -= sending;
  return sending;
}

static void done(struct device *d, uint32_t id, double now) {
  d->free++;
  total++;
  if (!measuring) return;
  completed++;
  if (rate < 0 && completed % SAMPLE_EVERY != 0) return;
  if (latency_count == latency_capacity) {
    latency_capacity = latency_capacity == 0 ? 1 << 16 : latency_capacity * 2;
    latencies = realloc(latencies, latency_capacity * sizeof(double));
    if (latencies == NULL) fail("no memory for latencies");
  }
  latencies[latency_count++] = now - d->sent_at[id % window];
}

/* All packets that a broker sends to a device here are four bytes long: in MQTT 5 too an ack that tells of success only. */
static void take_packet(struct device *d, const uint8_t *p, double now) {
  uint32_t type = p[0] >> 4, id = (uint32_t)p[2] << 8 | p[3];
  if (p[1] != 2) fail("a packet of type %u and %u bytes", type, p[1]);
  if ((type == 4 && qos == 1) || type == 7) {
    done(d, id, now);
  } else if (type == 5) {
    uint8_t *to = room(d, 4);
    memcpy(to, (uint8_t[]){0x62, 2, p[2], p[3]}, 4);
    d->out_length += 4;
  } else {
    fail("unexpected packet type %u", type);
  }
}

static uint8_t input[READ_BYTES];

static void read_device(struct device *d) {
  memcpy(input, d->rest, d->rest_length);
  ssize_t n = recv(d->fd, input + d->rest_length, sizeof input - d->rest_length, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) fail("a connection was closed%s%s", n < 0 ? ": " : "", n < 0 ? strerror(errno) : "");
  uint32_t length = d->rest_length + (uint32_t)n, at = 0;
  double now = now_ms();
  for (; at + 4 <= length; at += 4) take_packet(d, input + at, now);
  d->rest_length = length - at;
  memcpy(d->rest, input + at, d->rest_length);
  if (rate < 0) put_messages(d, UINT32_MAX);
  if (d->out_length > 0) flush_out(d);
}

static void add(int fd, void *to) {
  fcntl(fd, F_SETFL, O_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = to};
  if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl: %s", strerror(errno));
}

static uint32_t take_u32(const uint8_t **at) {
  uint32_t value;
  memcpy(&value, *at, 4);
  *at += 4;
  return value;
}

static const uint8_t *take_bytes(const uint8_t **at, uint32_t length) {
  const uint8_t *bytes = *at;
  *at += length;
  return bytes;
}

static void connect_devices(const char *path, uint16_t port) {
  int file = open(path, O_RDONLY);
  struct stat info;
  if (file < 0 || fstat(file, &info) != 0) fail("%s: %s", path, strerror(errno));
  const uint8_t *at = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, file, 0);
  if (at == MAP_FAILED) fail("%s: %s", path, strerror(errno));
  device_count = take_u32(&at);
  devices = calloc(device_count, sizeof *devices);
  for (uint32_t i = 0; i < device_count; i++) {
    struct device *d = &devices[i];
    uint32_t connect_length = take_u32(&at);
    const uint8_t *connect_packet = take_bytes(&at, connect_length);
    d->frame_count = take_u32(&at);
    struct frame *frames = calloc(d->frame_count, sizeof *frames);
    for (uint32_t n = 0; n < d->frame_count; n++) {
      frames[n].length = take_u32(&at);
      frames[n].id_at = take_u32(&at);
      frames[n].bytes = take_bytes(&at, frames[n].length);
    }
    d->frames = frames;
    d->free = window;
    d->sent_at = calloc(window, sizeof(double));
    d->fd = connected_socket(port);
    send_all(d->fd, connect_packet, connect_length);
    if ((i + 1) % CONNECTS_AT_A_TIME != 0 && i + 1 != device_count) continue;
    for (uint32_t first = i - i % CONNECTS_AT_A_TIME; first <= i; first++) {
      expect_connack(devices[first].fd);
      add(devices[first].fd, &devices[first]);
    }
  }
}

static double pace_began_ms, pace_due;
static uint64_t pace_sent, pace_turn;

/* What is due by now, in turn; who has no room in its window is passed over. */
static void send_due(double now) {
  double turns = (now - pace_began_ms) / 1000 * rate;
  for (uint32_t misses = 0; pace_due < turns && misses < device_count; pace_turn++) {
    struct device *d = &devices[pace_turn % device_count];
    if (put_messages(d, 1) > 0) {
      flush_out(d);
      pace_due = (double)++pace_sent + random_next();
      misses = 0;
    } else {
      misses++;
    }
  }
}

/* Reads and sends until `ends_ms`. */
static void run_until(double ends_ms) {
  static struct epoll_event events[256];
  for (double now; (now = now_ms()) < ends_ms;) {
    if (rate > 0) send_due(now);
    else if (rate < 0) nanosleep(&(struct timespec){.tv_nsec = READ_PAUSE_US * 1000}, NULL);
    double wait_ms = ends_ms - now;
    if (rate > 0 && wait_ms > PACE_TICK_MS) wait_ms = PACE_TICK_MS;
    int n = epoll_wait(poll_fd, events, 256, wait_ms < 1 ? 1 : (int)wait_ms);
    if (n < 0 && errno != EINTR) fail("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < n; i++) {
      struct device *d = events[i].data.ptr;
      if (events[i].events & EPOLLOUT) flush_out(d);
      if (events[i].events & ~EPOLLOUT) read_device(d);
    }
  }
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double quantile(double share) {
  return latency_count == 0 ? -1 : latencies[(size_t)((double)latency_count * share)];
}

static void say(const char *line) {
  puts(line);
  fflush(stdout);
}

int main(int argc, char **argv) {
  if (argc != 11) fail("wants 10 arguments; see the top of publisher.c");
  uint16_t port = (uint16_t)atoi(argv[2]);
  qos = (uint32_t)atoi(argv[3]);
  window = (uint32_t)atoi(argv[4]);
  double warmup_ms = atof(argv[5]), measure_ms = atof(argv[6]);
  rate = atof(argv[7]);
  random_state = strtoull(argv[8], NULL, 10);
  /* A multiple of the window, so that those in flight differ by it. */
  ids = MAX_PACKET_IDS - MAX_PACKET_IDS % window;
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  poll_fd = epoll_create1(0);
  start_subscribers(port, (uint32_t)atoi(argv[9]), (uint32_t)atoi(argv[10]));
  connect_devices(argv[1], port);
  for (uint32_t i = 0; rate < 0 && i < device_count; i++) {
    put_messages(&devices[i], UINT32_MAX);
    flush_out(&devices[i]);
  }
  pace_began_ms = now_ms();
  pace_due = random_next();
  run_until(pace_began_ms + warmup_ms);
  say("began");
  measuring = 1;
  double began = now_ms(), processor_before = processor_ms(), subscribers_before = subscribers_processor_ms();
  uint64_t copies_before = copies_until_now();
  run_until(began + measure_ms);
  measuring = 0;
  uint64_t copies = copies_until_now() - copies_before;
  double took_ms = now_ms() - began, busy_ms = processor_ms() - processor_before;
  double subscribers_ms = subscribers_processor_ms() - subscribers_before;
  if (subscribers_ms > busy_ms) busy_ms = subscribers_ms;
  say("ended");
  qsort(latencies, latency_count, sizeof(double), by_value);
  char p50[32] = "null", p99[32] = "null";
  if (latency_count > 0) snprintf(p50, sizeof p50, "%.4f", quantile(0.5));
  if (latency_count > 0) snprintf(p99, sizeof p99, "%.4f", quantile(0.99));
  printf("{\"completed\":%llu,\"seconds\":%.6f,\"p50Ms\":%s,\"p99Ms\":%s,\"busyShare\":%.4f,\"total\":%llu,\"copies\":%llu}\n",
         (unsigned long long)completed, took_ms / 1000, p50, p99, busy_ms / took_ms, (unsigned long long)total,
         (unsigned long long)copies);
  return 0;
}
