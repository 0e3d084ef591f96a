/*
 * Records what a process does to the files below a folder, for LD_PRELOAD, in the order in which the kernel did it, so
 * that the folder can be rebuilt as a power cut at any point would have left it; and lets fsync stall or fail.
 *
 *   DISK_RECORD_DIR      the folder, absolute, as /proc shows it
 *   DISK_RECORD_JOURNAL  where to append the records (others may append notes of their own); absent: nothing is recorded
 *   DISK_SYNC_FAULT      a file; while it exists its first word says what fsync and fdatasync of files do:
 *                          stall     they wait until the file is gone
 *                          eio       they fail with EIO, and nothing reaches the disk
 *                          eio-once  the first one does; it removes the file
 *                          slow-<n>  they take n ms longer
 *                        A second word: only files whose path ends so. Each call that this met adds a byte to
 *                        <DISK_SYNC_FAULT>.hits.
 *
 * One lock is held around each call and its record, so their order is one. An fsync has two records, before and after it:
 * it covers what stands before the first, and may be relied on behind the second. Bytes for sockets are recorded before
 * they are sent: what a peer can have seen stands in the journal.
 *
 * LevelDB writes through stdio, whose own calls of write() cannot be caught. After each of its calls the file is looked
 * at, and what it has grown by is recorded: stdio files of LevelDB only grow. Calls that are not understood (a shared
 * writable mapping, sendfile) leave a record that says so, and make the recording unusable instead of wrong.
 *
 * Record: length of the rest u32 | type u8 | fields, little endian. Read by test/faults/power/journal.ts.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* A macro in optimised builds. */
#undef fwrite_unlocked

enum type {
  CREATE = 2, WRITE, TRUNCATE, RENAME, LINK, UNLINK, RMDIR, SYNC_BEGIN, SYNC_END, NET, UNSUPPORTED
};

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
/* More of one send is not recorded: acks are small. */
#define MAX_NET_BYTES 65536
#define STALL_POLL_US 2000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root;
static size_t root_length;
static const char *sync_fault;
static int journal = -1;
static uint64_t last_sync;

__attribute__((constructor)) static void begin(void) {
  root = getenv("DISK_RECORD_DIR");
  sync_fault = getenv("DISK_SYNC_FAULT");
  if (root == NULL) return;
  root_length = strlen(root);
  const char *path = getenv("DISK_RECORD_JOURNAL");
  if (path != NULL) journal = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
}

/* Records. */

struct record {
  unsigned char *bytes;
  size_t length, room;
};

static void put(struct record *record, const void *data, size_t length) {
  if (record->length + length > record->room) {
    record->room = (record->length + length) * 2 + 256;
    record->bytes = realloc(record->bytes, record->room);
    if (record->bytes == NULL) abort();
  }
  memcpy(record->bytes + record->length, data, length);
  record->length += length;
}

static struct record new_record(enum type type) {
  struct record record = {0};
  uint32_t length = 0;
  unsigned char byte = (unsigned char)type;
  put(&record, &length, sizeof length);
  put(&record, &byte, 1);
  return record;
}

static void put64(struct record *record, uint64_t value) { put(record, &value, sizeof value); }
static void put8(struct record *record, int value) {
  unsigned char byte = (unsigned char)value;
  put(record, &byte, 1);
}
static void put_path(struct record *record, const char *path) {
  uint16_t length = (uint16_t)strlen(path);
  put(record, &length, sizeof length);
  put(record, path, length);
}

/* In one call: others append, too. */
static void append(struct record *record) {
  uint32_t length = (uint32_t)(record->length - sizeof length);
  memcpy(record->bytes, &length, sizeof length);
  ssize_t written = syscall(SYS_write, journal, record->bytes, record->length);
  if (written != (ssize_t)record->length) abort();
  free(record->bytes);
}

static void record_paths(enum type type, const char *from, const char *to) {
  struct record record = new_record(type);
  put_path(&record, from);
  if (to != NULL) put_path(&record, to);
  append(&record);
}

static void record_created(uint64_t ino, int is_folder, const char *path) {
  struct record record = new_record(CREATE);
  put64(&record, ino);
  put8(&record, is_folder);
  put_path(&record, path);
  append(&record);
}

static void record_truncated(uint64_t ino, uint64_t size) {
  struct record record = new_record(TRUNCATE);
  put64(&record, ino);
  put64(&record, size);
  append(&record);
}

static void unsupported(const char *what) { record_paths(UNSUPPORTED, what, NULL); }

/* Which files. */

static int is_below(const char *path) {
  return root != NULL && strncmp(path, root, root_length) == 0 && path[root_length] == '/';
}

static int records(const char *path) { return journal >= 0 && is_below(path); }

static int path_of(int fd, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  if (length <= 0) return 0;
  path[length] = 0;
  return 1;
}

static const char *base_of(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash == NULL ? path : slash + 1;
}

/* Nobody reads LevelDB's LOG, nor the bytes of the ballast. */
static int has_content(const char *path) {
  const char *name = base_of(path);
  return strcmp(name, "LOG") != 0 && strcmp(name, "LOG.old") != 0 && strncmp(name, "ballast", 7) != 0;
}

/* Of a descriptor whose writes are recorded: its path and inode. */
static int is_recorded(int fd, char *path, struct stat *stats) {
  if (journal < 0 || fstat(fd, stats) != 0 || !S_ISREG(stats->st_mode)) return 0;
  return path_of(fd, path) && is_below(path) && has_content(path);
}

static void record_write(uint64_t ino, uint64_t offset, const struct iovec *parts, int count, size_t length) {
  struct record record = new_record(WRITE);
  put64(&record, ino);
  put64(&record, offset);
  for (int i = 0; i < count && length > 0; i++) {
    size_t part = parts[i].iov_len < length ? parts[i].iov_len : length;
    put(&record, parts[i].iov_base, part);
    length -= part;
  }
  append(&record);
}

/* Sockets. */

static void record_sent(int fd, const struct iovec *parts, int count) {
  struct stat stats;
  if (journal < 0 || fstat(fd, &stats) != 0 || !S_ISSOCK(stats.st_mode)) return;
  struct sockaddr_in here, there;
  socklen_t here_length = sizeof here, there_length = sizeof there;
  if (getsockname(fd, (struct sockaddr *)&here, &here_length) != 0 || here.sin_family != AF_INET) return;
  if (getpeername(fd, (struct sockaddr *)&there, &there_length) != 0) return;
  struct record record = new_record(NET);
  uint16_t ports[2] = {ntohs(here.sin_port), ntohs(there.sin_port)};
  put(&record, ports, sizeof ports);
  size_t room = MAX_NET_BYTES;
  for (int i = 0; i < count && room > 0; i++) {
    size_t part = parts[i].iov_len < room ? parts[i].iov_len : room;
    put(&record, parts[i].iov_base, part);
    room -= part;
  }
  append(&record);
}

/* Writing. */

ssize_t write(int fd, const void *data, size_t length) {
  char path[PATH_MAX];
  struct stat stats;
  struct iovec part = {(void *)data, length};
  if (!is_recorded(fd, path, &stats)) {
    record_sent(fd, &part, 1);
    return NEXT(write)(fd, data, length);
  }
  pthread_mutex_lock(&lock);
  ssize_t written = NEXT(write)(fd, data, length);
  int error = errno;
  if (written > 0) record_write(stats.st_ino, (uint64_t)(lseek(fd, 0, SEEK_CUR) - written), &part, 1, (size_t)written);
  pthread_mutex_unlock(&lock);
  errno = error;
  return written;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  char path[PATH_MAX];
  struct stat stats;
  if (!is_recorded(fd, path, &stats)) {
    record_sent(fd, parts, count);
    return NEXT(writev)(fd, parts, count);
  }
  pthread_mutex_lock(&lock);
  ssize_t written = NEXT(writev)(fd, parts, count);
  int error = errno;
  if (written > 0) record_write(stats.st_ino, (uint64_t)(lseek(fd, 0, SEEK_CUR) - written), parts, count, (size_t)written);
  pthread_mutex_unlock(&lock);
  errno = error;
  return written;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at) {
  char path[PATH_MAX];
  struct stat stats;
  struct iovec part = {(void *)data, length};
  if (!is_recorded(fd, path, &stats)) return NEXT(pwrite64)(fd, data, length, at);
  pthread_mutex_lock(&lock);
  ssize_t written = NEXT(pwrite64)(fd, data, length, at);
  int error = errno;
  if (written > 0) record_write(stats.st_ino, (uint64_t)at, &part, 1, (size_t)written);
  pthread_mutex_unlock(&lock);
  errno = error;
  return written;
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
  char path[PATH_MAX];
  struct stat stats;
  if (!is_recorded(fd, path, &stats)) return NEXT(pwritev64)(fd, parts, count, at);
  pthread_mutex_lock(&lock);
  ssize_t written = NEXT(pwritev64)(fd, parts, count, at);
  int error = errno;
  if (written > 0) record_write(stats.st_ino, (uint64_t)at, parts, count, (size_t)written);
  pthread_mutex_unlock(&lock);
  errno = error;
  return written;
}

int ftruncate64(int fd, off64_t size) {
  char path[PATH_MAX];
  struct stat stats;
  if (!is_recorded(fd, path, &stats)) return NEXT(ftruncate64)(fd, size);
  pthread_mutex_lock(&lock);
  int result = NEXT(ftruncate64)(fd, size);
  int error = errno;
  if (result == 0) record_truncated(stats.st_ino, (uint64_t)size);
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

/* stdio: known sizes of files that are written through it, by inode. */

#define MAX_STREAMS 4096
static struct { uint64_t ino, size; } streams[MAX_STREAMS];

static uint64_t *known_size(uint64_t ino, int make) {
  for (size_t i = 0, at = ino % MAX_STREAMS; i < MAX_STREAMS; i++, at = (at + 1) % MAX_STREAMS) {
    if (streams[at].ino == ino) return &streams[at].size;
    if (streams[at].ino != 0) continue;
    if (!make) return NULL;
    streams[at].ino = ino;
    return &streams[at].size;
  }
  abort();
}

/* Under the lock. */
static void record_growth(FILE *file) {
  char path[PATH_MAX], link[64];
  struct stat stats;
  int fd = fileno(file);
  if (!is_recorded(fd, path, &stats)) return;
  uint64_t *known = known_size(stats.st_ino, 0);
  if (known == NULL || (uint64_t)stats.st_size <= *known) return;
  size_t length = (size_t)stats.st_size - *known;
  unsigned char *bytes = malloc(length);
  /* The stream's own descriptor is for writing only. */
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  int reader = (int)syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC);
  if (bytes == NULL || reader < 0 || pread(reader, bytes, length, (off_t)*known) != (ssize_t)length) abort();
  syscall(SYS_close, reader);
  struct iovec part = {bytes, length};
  record_write(stats.st_ino, *known, &part, 1, length);
  free(bytes);
  *known = (uint64_t)stats.st_size;
}

size_t fwrite_unlocked(const void *data, size_t size, size_t count, FILE *file) {
  pthread_mutex_lock(&lock);
  size_t result = NEXT(fwrite_unlocked)(data, size, count, file);
  int error = errno;
  record_growth(file);
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

int fflush_unlocked(FILE *file) {
  if (file == NULL) return NEXT(fflush_unlocked)(file);
  pthread_mutex_lock(&lock);
  int result = NEXT(fflush_unlocked)(file);
  int error = errno;
  record_growth(file);
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

int fclose(FILE *file) {
  if (!__fwritable(file)) return NEXT(fclose)(file);
  pthread_mutex_lock(&lock);
  NEXT(fflush_unlocked)(file);
  record_growth(file);
  int result = NEXT(fclose)(file);
  int error = errno;
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

FILE *fopen64(const char *path, const char *mode) {
  if (!records(path) || mode[0] == 'r') {
    if (records(path) && strchr(mode, '+') != NULL) unsupported("fopen r+");
    return NEXT(fopen64)(path, mode);
  }
  struct stat stats;
  pthread_mutex_lock(&lock);
  int existed = stat(path, &stats) == 0;
  FILE *file = NEXT(fopen64)(path, mode);
  int error = errno;
  if (file != NULL && fstat(fileno(file), &stats) == 0) {
    if (!existed) record_created(stats.st_ino, 0, path);
    else if (mode[0] == 'w') record_truncated(stats.st_ino, 0);
    *known_size(stats.st_ino, 1) = (uint64_t)stats.st_size;
  }
  pthread_mutex_unlock(&lock);
  errno = error;
  return file;
}

FILE *fopen(const char *path, const char *mode) { return fopen64(path, mode); }

/* Names. */

int open64(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  if (!records(path) || (flags & (O_CREAT | O_TRUNC)) == 0) return NEXT(open64)(path, flags, mode);
  struct stat stats;
  pthread_mutex_lock(&lock);
  int existed = stat(path, &stats) == 0;
  int fd = NEXT(open64)(path, flags, mode);
  int error = errno;
  if (fd >= 0 && fstat(fd, &stats) == 0) {
    if (!existed) record_created(stats.st_ino, 0, path);
    else if (flags & O_TRUNC) record_truncated(stats.st_ino, 0);
  }
  pthread_mutex_unlock(&lock);
  errno = error;
  return fd;
}

int open(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return open64(path, flags | O_LARGEFILE, mode);
}

int mkdir(const char *path, mode_t mode) {
  if (!records(path)) return NEXT(mkdir)(path, mode);
  struct stat stats;
  pthread_mutex_lock(&lock);
  int result = NEXT(mkdir)(path, mode);
  int error = errno;
  if (result == 0 && stat(path, &stats) == 0) record_created(stats.st_ino, 1, path);
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

#define RECORDED(call, type, from, to)      \
  pthread_mutex_lock(&lock);                \
  int result = (call);                      \
  int error = errno;                        \
  if (result == 0) record_paths(type, from, to); \
  pthread_mutex_unlock(&lock);              \
  errno = error;                            \
  return result

int rename(const char *from, const char *to) {
  if (!records(from) && !records(to)) return NEXT(rename)(from, to);
  RECORDED(NEXT(rename)(from, to), RENAME, from, to);
}

int link(const char *from, const char *to) {
  if (!records(to)) return NEXT(link)(from, to);
  RECORDED(NEXT(link)(from, to), LINK, from, to);
}

int unlink(const char *path) {
  if (!records(path)) return NEXT(unlink)(path);
  RECORDED(NEXT(unlink)(path), UNLINK, path, NULL);
}

int rmdir(const char *path) {
  if (!records(path)) return NEXT(rmdir)(path);
  RECORDED(NEXT(rmdir)(path), RMDIR, path, NULL);
}

/* fsync. */

static int ends_with(const char *path, const char *suffix) {
  size_t length = strlen(path), suffix_length = strlen(suffix);
  return length >= suffix_length && strcmp(path + length - suffix_length, suffix) == 0;
}

static int reads_fault(char *words, size_t room) {
  int fd = (int)syscall(SYS_openat, AT_FDCWD, sync_fault, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t length = read(fd, words, room - 1);
  syscall(SYS_close, fd);
  if (length <= 0) return 0;
  words[length] = 0;
  words[strcspn(words, "\n")] = 0;
  return 1;
}

static void count_hit(void) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s.hits", sync_fault);
  int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return;
  syscall(SYS_write, fd, ".", 1);
  syscall(SYS_close, fd);
}

/* 0: the call may go; else the errno. Returns after a stall. */
static int sync_verdict(const char *path, const struct stat *stats) {
  if (sync_fault == NULL || !S_ISREG(stats->st_mode)) return 0;
  for (int waits = 0;; waits++) {
    char words[256];
    if (!reads_fault(words, sizeof words)) return 0;
    char *suffix = strchr(words, ' ');
    if (suffix != NULL) *suffix++ = 0;
    if (suffix != NULL && !ends_with(path, suffix)) return 0;
    if (strncmp(words, "slow-", 5) == 0) {
      count_hit();
      usleep((useconds_t)atoi(words + 5) * 1000);
      return 0;
    }
    if (strcmp(words, "eio-once") == 0) {
      if (syscall(SYS_unlinkat, AT_FDCWD, sync_fault, 0) != 0) return 0;
    } else if (strcmp(words, "eio") != 0) {
      if (waits == 0) count_hit();
      usleep(STALL_POLL_US);
      continue;
    }
    count_hit();
    return EIO;
  }
}

static int synced(int fd, int (*call)(int)) {
  char path[PATH_MAX];
  struct stat stats;
  if (root == NULL || fstat(fd, &stats) != 0 || !path_of(fd, path)) return call(fd);
  if (!is_below(path) && strcmp(path, root) != 0) return call(fd);
  uint64_t id = __atomic_add_fetch(&last_sync, 1, __ATOMIC_RELAXED);
  if (journal >= 0) {
    struct record record = new_record(SYNC_BEGIN);
    put64(&record, id);
    put64(&record, stats.st_ino);
    pthread_mutex_lock(&lock);
    append(&record);
    pthread_mutex_unlock(&lock);
  }
  int error = sync_verdict(path, &stats);
  int result = error == 0 ? call(fd) : -1;
  if (error == 0) error = errno;
  if (journal >= 0) {
    struct record record = new_record(SYNC_END);
    put64(&record, id);
    put8(&record, result == 0 ? 0 : 1);
    append(&record);
  }
  errno = error;
  return result;
}

int fsync(int fd) { return synced(fd, NEXT(fsync)); }
int fdatasync(int fd) { return synced(fd, NEXT(fdatasync)); }

/* What the gateway does not do, and what nothing here would notice. */

static void refuse_descriptor(int fd, const char *what) {
  char path[PATH_MAX];
  struct stat stats;
  if (fd >= 0 && is_recorded(fd, path, &stats)) unsupported(what);
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t at) {
  if ((protection & PROT_WRITE) && (flags & MAP_SHARED)) refuse_descriptor(fd, "a shared writable mapping");
  return NEXT(mmap64)(address, length, protection, flags, fd, at);
}

ssize_t sendfile64(int to, int from, off64_t *offset, size_t count) {
  refuse_descriptor(to, "sendfile");
  return NEXT(sendfile64)(to, from, offset, count);
}

int symlink(const char *target, const char *path) {
  if (records(path)) unsupported("symlink");
  return NEXT(symlink)(target, path);
}
