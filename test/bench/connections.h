/* Connections of devices and subscribers to a broker of this machine. */
#ifndef CONNECTIONS_H
#define CONNECTIONS_H

#include <stddef.h>
#include <stdint.h>

/* Ends the program, with why on standard error. */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

int connected_socket(uint16_t port);

/* Waits until the socket took all. */
void send_all(int fd, const uint8_t *bytes, size_t length);

/* Of each version of MQTT. */
void expect_connack(int fd);

#endif
