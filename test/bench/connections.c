#define _GNU_SOURCE
#include "connections.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

void fail(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fputc('\n', stderr);
  exit(1);
}

int connected_socket(uint16_t port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  if (fd < 0) fail("socket: %s", strerror(errno));
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) fail("connect: %s", strerror(errno));
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

void send_all(int fd, const uint8_t *bytes, size_t length) {
  while (length > 0) {
    ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("send: %s", strerror(errno));
    bytes += n;
    length -= (size_t)n;
  }
}

void expect_connack(int fd) {
  uint8_t head[2], body[127];
  if (recv(fd, head, sizeof head, MSG_WAITALL) != sizeof head || head[0] != 0x20) fail("no CONNACK");
  /* With all its properties it is shorter than what a second byte of the length is for. */
  if (head[1] < 2 || head[1] > sizeof body) fail("a CONNACK of %u bytes", head[1]);
  if (recv(fd, body, head[1], MSG_WAITALL) != head[1]) fail("no CONNACK");
  if (body[1] != 0) fail("CONNACK refuses: code %u", body[1]);
}
