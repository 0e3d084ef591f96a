/*
 * A wall clock that is wrong on demand, for LD_PRELOAD: CLOCK_REALTIME, gettimeofday and time (so Date of JavaScript,
 * and the validity of certificates) are set off by as much as the file CLOCK_SHIFT says. The file is mapped, so that
 * the clock jumps the instant it is written:
 *
 *   offset 0   8 bytes   ns, signed: what is added
 *          8   8 bytes   how often a shifted time was given, so that a test can show that the fault fired
 *
 * The monotonic clock and the times of files are left as they are.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000LL

struct shift {
  _Atomic int64_t offset_ns;
  _Atomic int64_t given;
};

static struct shift *shift;

__attribute__((constructor)) static void map_shift(void) {
  const char *path = getenv("CLOCK_SHIFT");
  if (path == NULL) return;
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) abort();
  void *mapped = mmap(NULL, sizeof(struct shift), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (mapped == MAP_FAILED) abort();
  shift = mapped;
}

static int64_t realtime_ns(void) {
  struct timespec now;
  syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
  int64_t ns = (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
  if (shift == NULL) return ns;
  int64_t offset = atomic_load(&shift->offset_ns);
  if (offset != 0) atomic_fetch_add(&shift->given, 1);
  ns += offset;
  return ns < 0 ? 0 : ns;
}

int clock_gettime(clockid_t id, struct timespec *at) {
  if (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE) {
    /* Through libc, whose vDSO costs no system call: these are asked for all the time. */
    static int (*next)(clockid_t, struct timespec *);
    if (next == NULL) next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    return next(id, at);
  }
  int64_t ns = realtime_ns();
  at->tv_sec = ns / NS_PER_S;
  at->tv_nsec = ns % NS_PER_S;
  return 0;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
  (void)zone;
  int64_t ns = realtime_ns();
  at->tv_sec = ns / NS_PER_S;
  at->tv_usec = ns % NS_PER_S / 1000;
  return 0;
}

time_t time(time_t *at) {
  time_t seconds = realtime_ns() / NS_PER_S;
  if (at != NULL) *at = seconds;
  return seconds;
}
