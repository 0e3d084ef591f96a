/*
 * librdkafka's mock cluster as a process: brokers on free ports of loopback, faults by commands on
 * stdin, and every record that they took, in the order of their logs, on stdout. Tests compile it.
 * It ends with its stdin.
 *
 *   topic NAME PARTITIONS       makes a topic, and reads all of it from now on
 *   errors API CODE COUNT       the next requests of that API get this error, and are not done
 *   clear API                   no more of them
 *   answer-after API MS         the next request of that API is answered so much later
 *   topic-error NAME CODE       what a question for that topic gets; 0: its partitions
 *   down | up                   of all brokers
 *   leader NAME PARTITION ID    moves a partition to another broker
 *   sync                        prints every record that there is
 *
 * Each command is answered by "ok" when it is done. A record is one line, its parts behind tabs: "record",
 * topic, partition, offset, timestamp, key, value, then name and value of each header; bytes in hex.
 */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_TOPICS = 64, LINE = 1024, POLL_MS = 5, QUERY_MS = 1000 };

static rd_kafka_mock_cluster_t *cluster;
static rd_kafka_t *reader;
static rd_kafka_topic_partition_list_t *assigned;
/* Of each assigned partition, the offset behind the last record that was printed. */
static int64_t next_offset[MAX_TOPICS * 64];
/* Brokers that are down take nothing, and tell nobody what they have. */
static int is_down;

static void fail(const char *what, const char *why) {
        fprintf(stderr, "%s: %s\n", what, why);
        exit(1);
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
        char why[256];
        if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)) != RD_KAFKA_CONF_OK)
                fail(name, why);
}

static rd_kafka_t *client(rd_kafka_type_t type, const char *bootstraps) {
        char why[256];
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        set(conf, "log_level", "0");
        if (bootstraps != NULL) {
                set(conf, "bootstrap.servers", bootstraps);
                set(conf, "group.id", "reader");
                set(conf, "reconnect.backoff.ms", "10");
                set(conf, "reconnect.backoff.max.ms", "100");
                set(conf, "topic.metadata.refresh.interval.ms", "200");
                set(conf, "fetch.wait.max.ms", "10");
                set(conf, "fetch.error.backoff.ms", "10");
                set(conf, "allow.auto.create.topics", "false");
        }
        rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof(why));
        if (rk == NULL)
                fail("client", why);
        return rk;
}

static void print_hex(const void *bytes, size_t length) {
        static const char digits[] = "0123456789abcdef";
        for (size_t i = 0; i < length; i++) {
                unsigned char byte = ((const unsigned char *)bytes)[i];
                putchar(digits[byte >> 4]);
                putchar(digits[byte & 15]);
        }
}

static void print_record(const rd_kafka_message_t *message) {
        rd_kafka_timestamp_type_t type;
        printf("record\t%s\t%d\t%lld\t%lld\t", rd_kafka_topic_name(message->rkt),
               message->partition, (long long)message->offset,
               (long long)rd_kafka_message_timestamp(message, &type));
        print_hex(message->key, message->key_len);
        putchar('\t');
        print_hex(message->payload, message->len);
        rd_kafka_headers_t *headers;
        const char *name;
        const void *value;
        size_t size;
        if (rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR)
                for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) ==
                                   RD_KAFKA_RESP_ERR_NO_ERROR;
                     i++) {
                        printf("\t%s\t", name);
                        print_hex(value, size);
                }
        putchar('\n');
}

static int index_of(const char *topic, int partition) {
        for (int i = 0; assigned != NULL && i < assigned->cnt; i++)
                if (assigned->elems[i].partition == partition &&
                    strcmp(assigned->elems[i].topic, topic) == 0)
                        return i;
        return -1;
}

/* Prints what came within a few milliseconds. */
static void read_some(void) {
        rd_kafka_message_t *message;
        while ((message = rd_kafka_consumer_poll(reader, POLL_MS)) != NULL) {
                int at = message->err ? -1
                                      : index_of(rd_kafka_topic_name(message->rkt),
                                                 message->partition);
                if (at >= 0 && message->offset >= next_offset[at]) {
                        print_record(message);
                        next_offset[at] = message->offset + 1;
                }
                rd_kafka_message_destroy(message);
        }
}

static void make_topic(const char *topic, int partitions) {
        if (rd_kafka_mock_topic_create(cluster, topic, partitions, 1) != 0)
                fail("topic", topic);
        if (assigned == NULL)
                assigned = rd_kafka_topic_partition_list_new(partitions);
        for (int i = 0; i < partitions; i++)
                rd_kafka_topic_partition_list_add(assigned, topic, i);
        for (int i = 0; i < assigned->cnt; i++)
                assigned->elems[i].offset = next_offset[i];
        rd_kafka_assign(reader, assigned);
}

static void sync_all(void) {
        for (int i = 0; !is_down && assigned != NULL && i < assigned->cnt; i++) {
                int64_t low, high;
                while (rd_kafka_query_watermark_offsets(reader, assigned->elems[i].topic,
                                                        assigned->elems[i].partition, &low, &high,
                                                        QUERY_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
                        read_some();
                while (next_offset[i] < high)
                        read_some();
        }
}

static void obey(char *line) {
        char name[256];
        int a, b, c;
        if (strcmp(line, "sync") == 0) {
                sync_all();
        } else if (strcmp(line, "down") == 0) {
                sync_all();
                rd_kafka_mock_broker_set_down(cluster, -1);
                is_down = 1;
        } else if (strcmp(line, "up") == 0) {
                rd_kafka_mock_broker_set_up(cluster, -1);
                is_down = 0;
        } else if (sscanf(line, "topic %255s %d", name, &a) == 2) {
                make_topic(name, a);
        } else if (sscanf(line, "topic-error %255s %d", name, &a) == 2) {
                rd_kafka_mock_topic_set_error(cluster, name, a);
        } else if (sscanf(line, "leader %255s %d %d", name, &a, &b) == 3) {
                rd_kafka_mock_partition_set_leader(cluster, name, a, b);
        } else if (sscanf(line, "errors %d %d %d", &a, &b, &c) == 3) {
                while (c-- > 0)
                        rd_kafka_mock_push_request_errors(cluster, (int16_t)a, 1, b);
        } else if (sscanf(line, "clear %d", &a) == 1) {
                rd_kafka_mock_clear_request_errors(cluster, (int16_t)a);
        } else if (sscanf(line, "answer-after %d %d", &a, &b) == 2) {
                rd_kafka_mock_broker_push_request_error_rtts(cluster, 1, (int16_t)a, 1, 0, b);
        } else {
                fail("unknown command", line);
        }
        puts("ok");
}

int main(int argc, char **argv) {
        int brokers = argc > 1 ? atoi(argv[1]) : 1;
        rd_kafka_t *owner = client(RD_KAFKA_PRODUCER, NULL);
        cluster = rd_kafka_mock_cluster_new(owner, brokers);
        const char *bootstraps = rd_kafka_mock_cluster_bootstraps(cluster);
        reader = client(RD_KAFKA_CONSUMER, bootstraps);
        printf("ready %s\n", bootstraps);
        fflush(stdout);
        char line[LINE];
        size_t length = 0;
        for (;;) {
                read_some();
                fflush(stdout);
                struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
                if (poll(&in, 1, POLL_MS) <= 0)
                        continue;
                char byte;
                while (read(STDIN_FILENO, &byte, 1) == 1) {
                        if (byte != '\n' && length < sizeof(line) - 1) {
                                line[length++] = byte;
                                continue;
                        }
                        line[length] = '\0';
                        length = 0;
                        obey(line);
                        fflush(stdout);
                        break;
                }
                if (in.revents & POLLHUP && !(in.revents & POLLIN))
                        return 0;
        }
}
