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
 *   call NAME N ERRNO [on]
 *                  the Nth call of that name from here on fails with that number; with `on` all later ones, too; with
 *                  `kill` for the number the process is killed in its place. Names:
 *                  open read mmap lock stat readdir rename unlink link mkdir sync truncate statfs write access
 *
 * Each failure adds a byte to <DISK_FAULT_FLAG>.hits, so that a test can show that the fault fired. statfs says what a
 * full disk says. Writing in place works on a full disk, here too.
 *
 * LevelDB writes through stdio, whose own calls of write() cannot be caught: therefore fwrite_unlocked and
 * fflush_unlocked.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* A macro in optimised builds. */
#undef fwrite_unlocked
#undef fread_unlocked

/* As folder-opening.ts has it: what a dropped ballast gives back. */
#define BALLAST_BYTES (32L * 1024 * 1024)

enum fault { NONE, FULL, TABLES_FULL, FULL_FOR_GOOD, WRITE_EIO, SYNC_EIO, CALL };

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
  if (strcmp(word, "call") == 0) return CALL;
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

static int path_is_below(const char *path) {
  const char *dir = getenv("DISK_FAULT_DIR");
  if (dir == NULL || path == NULL) return 0;
  size_t length = strlen(dir);
  return strncmp(path, dir, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static atomic_long calls;

/* 0: the call may go; else its errno. */
static int call_fails(const char *name) {
  const char *flag = getenv("DISK_FAULT_FLAG");
  if (flag == NULL) return 0;
  int fd = (int)syscall(SYS_openat, AT_FDCWD, flag, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    atomic_store(&calls, 0);
    return 0;
  }
  char text[64] = {0};
  ssize_t length = syscall(SYS_read, fd, text, sizeof text - 1);
  syscall(SYS_close, fd);
  char wanted[16] = {0}, number[8] = {0}, more[8] = {0};
  long nth = 0;
  if (length <= 0 || sscanf(text, "call %15s %ld %7s %7s", wanted, &nth, number, more) < 3) return 0;
  if (strcmp(wanted, name) != 0) return 0;
  long call = atomic_fetch_add(&calls, 1) + 1;
  if (call != nth && !(call > nth && strcmp(more, "on") == 0)) return 0;
  count_hit();
  if (strcmp(number, "kill") == 0) kill(getpid(), SIGKILL);
  return atoi(number);
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
  if (fault == CALL) return call_fails("write");
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

#define FAIL_IF(concerned, name, result)                 \
  do {                                                   \
    int failed = (concerned) ? call_fails(name) : 0;     \
    if (failed != 0) {                                   \
      errno = failed;                                    \
      return result;                                     \
    }                                                    \
  } while (0)

#define FAIL_PATH(path, name, result) FAIL_IF(path_is_below(path), name, result)
#define FAIL_FD(fd, name, result) FAIL_IF(is_below((fd), CALL), name, result)

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
  int failed = is_below(fd, CALL) ? call_fails("sync") : 0;
  if (failed != 0) {
    errno = failed;
    return 1;
  }
  if (current_fault(NULL) != SYNC_EIO || !is_below(fd, SYNC_EIO)) return 0;
  if (fstat(fd, &stats) == 0 && S_ISDIR(stats.st_mode)) return 0;
  count_hit();
  errno = EIO;
  return 1;
}

int fsync(int fd) { return sync_fails(fd) ? -1 : NEXT(fsync)(fd); }

int fdatasync(int fd) { return sync_fails(fd) ? -1 : NEXT(fdatasync)(fd); }

int statfs64(const char *path, struct statfs64 *stats) {
  FAIL_PATH(path, "statfs", -1);
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

/* What opens, reads, locks and looks: for `call` alone. */

#define OPEN(name, path, flags)                    \
  va_list rest;                                    \
  va_start(rest, flags);                           \
  mode_t mode = (mode_t)va_arg(rest, unsigned);    \
  va_end(rest);                                    \
  FAIL_PATH(path, "open", -1);                     \
  return NEXT(name)(path, flags, mode)

int open(const char *path, int flags, ...) { OPEN(open, path, flags); }

int open64(const char *path, int flags, ...) { OPEN(open64, path, flags); }

FILE *fopen(const char *path, const char *mode) {
  FAIL_PATH(path, "open", NULL);
  return NEXT(fopen)(path, mode);
}

FILE *fopen64(const char *path, const char *mode) {
  FAIL_PATH(path, "open", NULL);
  return NEXT(fopen64)(path, mode);
}

ssize_t read(int fd, void *data, size_t bytes) {
  FAIL_FD(fd, "read", -1);
  return NEXT(read)(fd, data, bytes);
}

ssize_t pread64(int fd, void *data, size_t bytes, off64_t at) {
  FAIL_FD(fd, "read", -1);
  return NEXT(pread64)(fd, data, bytes, at);
}

ssize_t pread(int fd, void *data, size_t bytes, off_t at) {
  FAIL_FD(fd, "read", -1);
  return NEXT(pread)(fd, data, bytes, at);
}

size_t fread_unlocked(void *data, size_t size, size_t count, FILE *file) {
  FAIL_FD(fileno(file), "read", 0);
  return NEXT(fread_unlocked)(data, size, count, file);
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t at) {
  FAIL_IF(fd >= 0 && is_below(fd, CALL), "mmap", MAP_FAILED);
  return NEXT(mmap)(address, length, protection, flags, fd, at);
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t at) {
  FAIL_IF(fd >= 0 && is_below(fd, CALL), "mmap", MAP_FAILED);
  return NEXT(mmap64)(address, length, protection, flags, fd, at);
}

#define FCNTL(name, fd, command)                                                     \
  va_list rest;                                                                      \
  va_start(rest, command);                                                           \
  void *argument = va_arg(rest, void *);                                             \
  va_end(rest);                                                                      \
  FAIL_IF((command == F_SETLK || command == F_SETLKW) && is_below(fd, CALL), "lock", -1); \
  return NEXT(name)(fd, command, argument)

int fcntl(int fd, int command, ...) { FCNTL(fcntl, fd, command); }

int fcntl64(int fd, int command, ...) { FCNTL(fcntl64, fd, command); }

int stat(const char *path, struct stat *stats) {
  FAIL_PATH(path, "stat", -1);
  return NEXT(stat)(path, stats);
}

/* What older binaries call for stat64. */
int __xstat64(int version, const char *path, struct stat64 *stats) {
  FAIL_PATH(path, "stat", -1);
  int (*next)(int, const char *, struct stat64 *) = dlsym(RTLD_NEXT, "__xstat64");
  return next(version, path, stats);
}

int statx(int dir, const char *path, int flags, unsigned mask, struct statx *stats) {
  FAIL_IF(path[0] == 0 ? is_below(dir, CALL) : path_is_below(path), "stat", -1);
  return NEXT(statx)(dir, path, flags, mask, stats);
}

DIR *opendir(const char *path) {
  FAIL_PATH(path, "readdir", NULL);
  return NEXT(opendir)(path);
}

int scandir64(const char *path, struct dirent64 ***names, int (*filter)(const struct dirent64 *),
              int (*compare)(const struct dirent64 **, const struct dirent64 **)) {
  FAIL_PATH(path, "readdir", -1);
  return NEXT(scandir64)(path, names, filter, compare);
}

int scandir(const char *path, struct dirent ***names, int (*filter)(const struct dirent *),
            int (*compare)(const struct dirent **, const struct dirent **)) {
  FAIL_PATH(path, "readdir", -1);
  return NEXT(scandir)(path, names, filter, compare);
}

/* In the middle of a list: whoever does not look at errno takes it for the end. */
struct dirent *readdir(DIR *folder) {
  FAIL_FD(dirfd(folder), "readdir", NULL);
  return NEXT(readdir)(folder);
}

struct dirent64 *readdir64(DIR *folder) {
  FAIL_FD(dirfd(folder), "readdir", NULL);
  return NEXT(readdir64)(folder);
}

int rename(const char *from, const char *to) {
  FAIL_PATH(from, "rename", -1);
  return NEXT(rename)(from, to);
}

int unlink(const char *path) {
  FAIL_PATH(path, "unlink", -1);
  return NEXT(unlink)(path);
}

int link(const char *from, const char *to) {
  FAIL_PATH(from, "link", -1);
  return NEXT(link)(from, to);
}

int access(const char *path, int mode) {
  FAIL_PATH(path, "access", -1);
  return NEXT(access)(path, mode);
}

int mkdir(const char *path, mode_t mode) {
  FAIL_PATH(path, "mkdir", -1);
  return NEXT(mkdir)(path, mode);
}

int ftruncate64(int fd, off64_t length) {
  FAIL_FD(fd, "truncate", -1);
  return NEXT(ftruncate64)(fd, length);
}
