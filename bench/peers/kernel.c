/*
 * What connection tracking and MASQUERADE add to Linux's forwarding: packets of 52 bytes are written to a TUN device, one
 * write(2) each, and leave by another. Two network namespaces forward the same packets, one without any rule (so without
 * conntrack), one with MASQUERADE and a ctstate rule; bursts of 256 take turns between them. The difference is what is
 * looked for: the write itself, the device and the route cost the same in both.
 *
 *   kernel FLOWS established|new SAMPLES        needs root, /dev/net/tun, ip and iptables-restore
 *
 * Established: packets of random flows, of both directions in turn. New: every packet begins a connection, all from one
 * port, so that a port must be picked; what expiry costs later is not in it. Prints a line of JSON: nanoseconds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { BURST = 256, LENGTH = 52, SAMPLE_BURSTS = 16, UDP = 17, SERVER_PORT = 443, MOST_SAMPLES = 4096 };

static const uint32_t WAN = 0xcb007101;

/* A namespace that forwards: its two devices. */
struct way {
  int lan, wan, is_tracked;
};

static uint8_t frames[BURST][LENGTH];

static void check(int condition, const char *what) {
  if (condition) return;
  fprintf(stderr, "kernel: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void run(const char *command) { check(system(command) == 0, command); }

static int open_tun(const char *name) {
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
  int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
  check(device >= 0, "/dev/net/tun");
  strcpy(request.ifr_name, name);
  check(ioctl(device, TUNSETIFF, &request) == 0, "TUNSETIFF");
  return device;
}

static struct way make_way(int is_tracked) {
  check(unshare(CLONE_NEWNET) == 0, "a network namespace");
  struct way way = {.lan = open_tun("lan"), .wan = open_tun("wan"), .is_tracked = is_tracked};
  run("ip link set lan txqueuelen 1000 up && ip addr add 10.0.0.1/8 dev lan && "
      "ip link set wan txqueuelen 1000 up && ip addr add 203.0.113.1/24 dev wan && ip route add default dev wan && "
      "echo 1 > /proc/sys/net/ipv4/ip_forward && "
      "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done");
  if (is_tracked)
    run("printf '*nat\\n-A POSTROUTING -o wan -j MASQUERADE\\nCOMMIT\\n*filter\\n:FORWARD DROP\\n"
        "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\\n-A FORWARD -i lan -o wan -j ACCEPT\\n"
        "COMMIT\\n' | iptables-restore");
  return way;
}

static void put16(uint8_t *p, uint32_t value) { p[0] = (uint8_t)(value >> 8), p[1] = (uint8_t)value; }
static void put32(uint8_t *p, uint32_t value) { put16(p, value >> 16), put16(p + 2, value); }

static uint32_t sum16(const uint8_t *p, int length) {
  uint32_t sum = 0;
  for (int i = 0; i < length; i += 2) sum += (uint32_t)(p[i] << 8 | p[i + 1]);
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}

static void write_frame(uint8_t *p, uint32_t source, uint32_t destination, uint32_t ports) {
  memset(p, 0, LENGTH);
  put16(p, 0x4500), put16(p + 2, LENGTH), put16(p + 6, 0x4000);
  p[8] = 64, p[9] = UDP;
  put32(p + 12, source), put32(p + 16, destination), put32(p + 20, ports);
  put16(p + 10, ~sum16(p, 20));
  put16(p + 24, LENGTH - 20);
  uint32_t sum = sum16(p + 20, LENGTH - 20) + sum16(p + 12, 8) + UDP + LENGTH - 20;
  put16(p + 26, ~((sum & 0xffff) + (sum >> 16)));
}

static void write_packet(uint8_t *p, uint32_t flow, int is_reply, int is_tracked) {
  uint32_t client = 0x0a010000 + (flow >> 10), server = 0xc6120000 + (flow >> 10), port = 20000 + (flow & 1023);
  if (is_reply) write_frame(p, server, is_tracked ? WAN : client, SERVER_PORT << 16 | port);
  else write_frame(p, client, server, port << 16 | SERVER_PORT);
}

static uint32_t state = 0x5eed;

static uint32_t below(uint32_t limit) {
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return (uint32_t)((uint64_t)state * limit >> 32);
}

static double clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Reads a device empty; returns how many packets it had. */
static int drain(int device) {
  uint8_t packet[2048];
  int count = 0;
  for (ssize_t length; (length = read(device, packet, sizeof packet)) > 0;)
    if (packet[0] == 0x45 && packet[9] == UDP) count++;
  return count;
}

/* Sends the frames, odd ones in by the WAN unless all come from the LAN. Returns nanoseconds; all must come out. */
static double send_burst(const struct way *way, int all_from_lan) {
  double start = clock_ns();
  for (int i = 0; i < BURST; i++) {
    int device = i & 1 && !all_from_lan ? way->wan : way->lan;
    check(write(device, frames[i], LENGTH) == LENGTH, "write");
  }
  double passed = clock_ns() - start;
  int out = drain(way->wan) + drain(way->lan);
  if (out != BURST) fprintf(stderr, "kernel: %d of %d packets came out\n", out, BURST), exit(1);
  return passed;
}

static void establish(const struct way *way, uint32_t flows) {
  for (uint32_t flow = 0; flow < flows; flow += BURST / 2) {
    for (uint32_t i = 0; i < BURST; i++)
      write_packet(frames[i], (flow + i / 2) % flows, (int)(i & 1), way->is_tracked);
    send_burst(way, 0);
  }
}

static void write_burst(uint32_t flows, int is_new, uint32_t first, const struct way *way) {
  for (uint32_t i = 0; i < BURST; i++) {
    uint32_t flow = first + i;
    if (is_new) write_frame(frames[i], 0x0a010000 + flow, 0xc6120000 + (flow >> 12), 20000u << 16 | SERVER_PORT);
    else write_packet(frames[i], below(flows), (int)(i & 1), way->is_tracked);
  }
}

static void print(const char *name, const double *values, int count) {
  printf("\"%s\":[", name);
  for (int i = 0; i < count; i++) printf("%s%.1f", i ? "," : "", values[i]);
  printf("]");
}

static int compare(const void *a, const void *b) {
  return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static double median(double *values, int count) {
  qsort(values, (size_t)count, sizeof *values, compare);
  return values[count / 2];
}

int main(int count, char **words) {
  check(count == 4, "kernel FLOWS established|new SAMPLES");
  uint32_t flows = (uint32_t)strtoul(words[1], NULL, 10), next = 0;
  int is_new = !strcmp(words[2], "new"), samples = atoi(words[3]);
  static double difference[MOST_SAMPLES], plain[MOST_SAMPLES], tracked[MOST_SAMPLES];
  check(flows > 0 && samples > 0 && samples <= MOST_SAMPLES, "bad numbers");
  struct way ways[2] = {make_way(0), make_way(1)};
  if (!is_new) for (int i = 0; i < 2; i++) establish(ways + i, flows);
  for (int sample = -2; sample < samples; sample++) {
    double passed[2] = {0, 0};
    for (int burst = 0; burst < SAMPLE_BURSTS; burst++) {
      uint32_t before = state;
      for (int i = 0; i < 2; i++) {
        state = before;
        write_burst(flows, is_new, next, ways + i);
        passed[i] += send_burst(ways + i, is_new);
      }
      next += BURST;
    }
    if (sample < 0) continue;
    plain[sample] = passed[0] / (SAMPLE_BURSTS * BURST);
    tracked[sample] = passed[1] / (SAMPLE_BURSTS * BURST);
    difference[sample] = tracked[sample] - plain[sample];
  }
  printf("{");
  print("samples", difference, samples);
  printf(",\"figures\":{\"plainNs\":%.1f,\"trackedNs\":%.1f}}\n", median(plain, samples), median(tracked, samples));
  return 0;
}
