/*
 * A disk that fails on demand, for LD_PRELOAD: stands in for a small file system where mounting one is refused, and
 * gives the faults that no mount gives. Concerns files below DISK_FAULT_DIR while the file DISK_FAULT_FLAG exists.
 * Its first word says what happens:
 *
 *   full [bytes]   writes that make a file longer fail with ENOSPC when they have taken so many bytes; without the
 *                  number, or with 0, at once while the ballast is there, and once it is gone they have its room
 *   tables-full    as full, for tables (.ldb) only: the log goes on until LevelDB flushes what it holds
 *   full-for-good  as full, without that room: somebody else takes it at once
 *   write-eio      every write fails with EIO
 *   sync-eio       fsync and fdatasync of files fail with EIO; what was written stays in the file
 *
 * Each failure adds a byte to <DISK_FAULT_FLAG>.hits, so that a test can show that the fault fired. statfs says what a
 * full disk says. Writing in place works on a full disk, here too.
 *
 * LevelDB writes through stdio, whose own calls of write() cannot be caught: therefore fwrite_unlocked and
 * fflush_unlocked.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* A macro in optimised builds. */
#undef fwrite_unlocked

/* As opened-folder.ts has it: what a dropped ballast gives back. */
#define BALLAST_BYTES (32L * 1024 * 1024)

enum fault { NONE, FULL, TABLES_FULL, FULL_FOR_GOOD, WRITE_EIO, SYNC_EIO };

static atomic_long spent_bytes;

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* `leave`: what the flag says of room; NULL where nobody asks. */
static enum fault current_fault(long *leave) {
  const char *flag = getenv("DISK_FAULT_FLAG");
  if (flag == NULL) return NONE;
  int fd = (int)syscall(SYS_openat, AT_FDCWD, flag, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return NONE;
  char word[64] = {0};
  ssize_t length = read(fd, word, sizeof word - 1);
  syscall(SYS_close, fd);
  if (length <= 0) return NONE;
  char *end = word + strcspn(word, " \n");
  if (leave != NULL) *leave = *end == ' ' ? atol(end + 1) : 0;
  *end = 0;
  if (strcmp(word, "full") == 0) return FULL;
  if (strcmp(word, "tables-full") == 0) return TABLES_FULL;
  if (strcmp(word, "full-for-good") == 0) return FULL_FOR_GOOD;
  if (strcmp(word, "write-eio") == 0) return WRITE_EIO;
  if (strcmp(word, "sync-eio") == 0) return SYNC_EIO;
  return NONE;
}

static void count_hit(void) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s.hits", getenv("DISK_FAULT_FLAG"));
  int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return;
  syscall(SYS_write, fd, ".", 1);
  syscall(SYS_close, fd);
}

static int ends_with(const char *path, const char *suffix) {
  size_t length = strlen(path), suffix_length = strlen(suffix);
  return length >= suffix_length && strcmp(path + length - suffix_length, suffix) == 0;
}

static int is_below(int fd, enum fault fault) {
  const char *dir = getenv("DISK_FAULT_DIR");
  if (dir == NULL) return 0;
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length <= 0) return 0;
  path[length] = 0;
  if (fault == TABLES_FULL && !ends_with(path, ".ldb")) return 0;
  size_t dir_length = strlen(dir);
  return strncmp(path, dir, dir_length) == 0 && (path[dir_length] == '/' || path[dir_length] == 0);
}

static int ballast_is_gone(void) {
  char path[PATH_MAX];
  struct stat ignored;
  snprintf(path, sizeof path, "%s/ballast", getenv("DISK_FAULT_DIR"));
  return stat(path, &ignored) != 0;
}

static long room(enum fault fault, long leave) {
  if (fault == FULL_FOR_GOOD) return 0;
  if (leave > 0) return leave;
  return ballast_is_gone() ? BALLAST_BYTES - 1 : 0;
}

/* 0: the write may go; else the errno. `end`: the offset behind its last byte, -1: behind the file's end. */
static int verdict(int fd, long bytes, off_t end) {
  long leave = 0;
  enum fault fault = current_fault(&leave);
  if (fault == NONE) {
    atomic_store(&spent_bytes, 0);
    return 0;
  }
  if (fault == SYNC_EIO || !is_below(fd, fault)) return 0;
  if (fault == WRITE_EIO) {
    count_hit();
    return EIO;
  }
  struct stat stats;
  if (end >= 0 && fstat(fd, &stats) == 0 && end <= stats.st_size) return 0;
  long left = room(fault, leave);
  if (left > 0 && atomic_fetch_add(&spent_bytes, bytes) + bytes <= left) return 0;
  count_hit();
  return ENOSPC;
}

static long total(const struct iovec *parts, int count) {
  long bytes = 0;
  for (int i = 0; i < count; i++) bytes += (long)parts[i].iov_len;
  return bytes;
}

static off_t behind(int fd, long bytes) {
  off_t at = lseek(fd, 0, SEEK_CUR);
  return at < 0 ? -1 : at + bytes;
}

#define REFUSE(fd, bytes, end)                       \
  do {                                               \
    int error = verdict((fd), (long)(bytes), (end)); \
    if (error != 0) {                                \
      errno = error;                                 \
      return -1;                                     \
    }                                                \
  } while (0)

ssize_t write(int fd, const void *data, size_t bytes) {
  REFUSE(fd, bytes, behind(fd, (long)bytes));
  return NEXT(write)(fd, data, bytes);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  REFUSE(fd, total(parts, count), behind(fd, total(parts, count)));
  return NEXT(writev)(fd, parts, count);
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t at) {
  REFUSE(fd, bytes, at + (off_t)bytes);
  return NEXT(pwrite64)(fd, data, bytes, at);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
  REFUSE(fd, total(parts, count), at + total(parts, count));
  return NEXT(pwritev64)(fd, parts, count, at);
}

size_t fwrite_unlocked(const void *data, size_t size, size_t count, FILE *file) {
  int error = verdict(fileno(file), (long)(size * count), -1);
  if (error != 0) {
    errno = error;
    return 0;
  }
  return NEXT(fwrite_unlocked)(data, size, count, file);
}

int fflush_unlocked(FILE *file) {
  /* What was taken into the buffer before the disk was full finds no room now. */
  int error = file == NULL ? 0 : verdict(fileno(file), 0, -1);
  if (error != 0) {
    errno = error;
    return EOF;
  }
  return NEXT(fflush_unlocked)(file);
}

static int sync_fails(int fd) {
  struct stat stats;
  if (current_fault(NULL) != SYNC_EIO || !is_below(fd, SYNC_EIO)) return 0;
  if (fstat(fd, &stats) == 0 && S_ISDIR(stats.st_mode)) return 0;
  count_hit();
  errno = EIO;
  return 1;
}

int fsync(int fd) { return sync_fails(fd) ? -1 : NEXT(fsync)(fd); }

int fdatasync(int fd) { return sync_fails(fd) ? -1 : NEXT(fdatasync)(fd); }

int statfs64(const char *path, struct statfs64 *stats) {
  int result = NEXT(statfs64)(path, stats);
  const char *dir = getenv("DISK_FAULT_DIR");
  if (result != 0 || dir == NULL || strncmp(path, dir, strlen(dir)) != 0) return result;
  long leave = 0;
  enum fault fault = current_fault(&leave);
  if (fault != FULL && fault != FULL_FOR_GOOD) return result;
  long left = room(fault, leave) - atomic_load(&spent_bytes);
  if (left < 0) left = 0;
  stats->f_bfree = stats->f_bavail = (fsblkcnt64_t)(left / stats->f_bsize);
  return result;
}
