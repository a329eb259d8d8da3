/*
 * The floor: about the least that a NAT of tracked connections can do for a packet, in C. bench/peers/floor.ts compiles
 * and runs it with the same packets in the same order as our own path, to have something to compare with.
 *
 * Done per packet: IPv4 and UDP or TCP headers checked, the header's checksum verified, tuple hashed (XXH32), looked up
 * in chained buckets, packets and bytes counted, the time set, addresses and ports translated, both checksums adjusted
 * (RFC 1624), the TTL spent. Records are like ours: a line of 64 bytes per direction and one that both share.
 * Not done: rules, routes, TCP windows, ICMP, fragments, options, events. No such program could be used.
 *
 *   floor udp|tcp|lean FLOWS single|batch SAMPLES    lean: udp, and the translation lies in the direction's own line
 *   floor udp FLOWS new SAMPLES                      connections whose port must be picked, and their expiry
 *
 * Prints a line of JSON: nanoseconds per packet, one number per sample.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { BURST = 256, SLOT = 64, LENGTH = 52, BATCH = 32, SAMPLE_BURSTS = 64, SHARES = 4 };
/* Buckets per connection, which has two tuples: measured best, as most chains then end with the one looked for. */
enum { BUCKETS_EACH = 4 };
enum { UDP = 17, TCP = 6, SERVER_PORT = 443, FIRST_PORT = 1024, PORTS = 64512 };
enum { CONFIRMED = 8, SEEN_REPLY = 2, TIMEOUT_MS = 120000 };

static const uint32_t SEED = 0x5eed, WAN = 0xcb007101;

struct line {
  uint32_t hash;
  int32_t next, prev;
  uint32_t source, destination, ports, kind;
  uint32_t to_source, to_destination, to_ports; /* lean only */
  uint32_t packets, reply;
  uint64_t bytes;
  uint32_t spare[2];
};

struct record {
  struct line lines[2];
  uint32_t status, expires;
  uint32_t spare[14];
};

/* A node is a line's number: three to a record. */
static struct line *lines;
static int32_t *buckets;
static uint32_t mask, flows, now_ms, live;
static uint8_t protocol;
static int lean;
static uint32_t *free_records, free_count;
static uint8_t frames[BURST * SLOT] __attribute__((aligned(64)));
static uint64_t sink;

static struct record *record_at(uint32_t slot) { return (struct record *)(lines + 3 * (size_t)slot); }

static uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static uint32_t get32(const uint8_t *p) {
  uint32_t word;
  memcpy(&word, p, 4);
  return __builtin_bswap32(word);
}
static void put16(uint8_t *p, uint32_t value) { p[0] = (uint8_t)(value >> 8), p[1] = (uint8_t)value; }
static void put32(uint8_t *p, uint32_t value) {
  value = __builtin_bswap32(value);
  memcpy(p, &value, 4);
}

static uint32_t rotate(uint32_t x, int bits) { return x << bits | x >> (32 - bits); }

static uint32_t lane(uint32_t seed, uint32_t word) {
  return rotate(seed + word * 2246822519u, 13) * 2654435761u;
}

/* XXH32 of four words. */
static inline uint32_t hash4(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  uint32_t h = rotate(lane(SEED + 2654435761u + 2246822519u, a), 1) + rotate(lane(SEED + 2246822519u, b), 7) +
               rotate(lane(SEED, c), 12) + rotate(lane(SEED - 2654435761u, d), 18) + 16;
  h = (h ^ h >> 15) * 2246822519u;
  h = (h ^ h >> 13) * 3266489917u;
  return h ^ h >> 16;
}

static uint32_t fold(uint32_t sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}

static uint32_t sum16(const uint8_t *p, int length) {
  uint32_t sum = 0;
  for (int i = 0; i < length; i += 2) sum += get16(p + i);
  return fold(sum);
}

/* Whether the checksum of a header of 20 bytes is right: summed by words as they lie, which the sum does not mind. */
static int is_sealed(const uint8_t *p) {
  uint64_t a, b;
  uint32_t c;
  memcpy(&a, p, 8), memcpy(&b, p + 8, 8), memcpy(&c, p + 16, 4);
  uint64_t sum = (a & 0xffffffff) + (a >> 32) + (b & 0xffffffff) + (b >> 32) + c;
  return fold(fold((uint32_t)(sum & 0xffffffff)) + (uint32_t)(sum >> 32)) == 0xffff;
}

/* What is to be added to a checksum's complement when a word becomes another. */
static uint32_t change32(uint32_t old, uint32_t new) {
  return (~old >> 16) + (~old & 0xffff) + (new >> 16) + (new & 0xffff);
}

struct parsed {
  uint32_t source, destination, ports, hash;
};

static inline int parse(const uint8_t *p, struct parsed *at) {
  if (p[0] != 0x45 || get16(p + 2) > LENGTH || get16(p + 2) < 28 || p[8] < 2 || (get16(p + 6) & 0x3fff)) return 0;
  if (!is_sealed(p) || p[9] != protocol) return 0;
  if (protocol == UDP ? get16(p + 24) != get16(p + 2) - 20 : p[32] >> 4 < 5) return 0;
  at->source = get32(p + 12);
  at->destination = get32(p + 16);
  at->ports = get32(p + 20);
  at->hash = hash4(at->source, at->destination, at->ports, protocol);
  return 1;
}

static inline int32_t find(const struct parsed *key, int32_t node) {
  while (node >= 0) {
    const struct line *line = lines + node;
    if (line->hash == key->hash && line->source == key->source && line->destination == key->destination &&
        line->ports == key->ports && line->kind == protocol)
      return node;
    node = line->next;
  }
  return -1;
}

static inline int finish(uint8_t *p, const struct parsed *key, struct line *line) {
  struct line *first = line - line->reply;
  struct record *record = (struct record *)first;
  uint32_t source, destination, ports;
  line->packets++;
  line->bytes += LENGTH;
  if (lean) {
    source = line->to_source, destination = line->to_destination, ports = line->to_ports;
  } else {
    const struct line *other = first + !line->reply;
    if ((int32_t)(record->expires - now_ms) <= 0) return 0;
    record->expires = now_ms + TIMEOUT_MS;
    if (line->reply && !(record->status & SEEN_REPLY)) record->status |= SEEN_REPLY;
    source = other->destination, destination = other->source, ports = rotate(other->ports, 16);
  }
  uint32_t addresses = change32(key->source, source) + change32(key->destination, destination);
  put32(p + 12, source);
  put32(p + 16, destination);
  put32(p + 20, ports);
  uint32_t ttl = get16(p + 8);
  p[8]--;
  put16(p + 10, ~fold((uint16_t)~get16(p + 10) + addresses + (uint16_t)~ttl + ttl - 256));
  uint8_t *checksum = p + (protocol == UDP ? 26 : 36);
  if (get16(checksum) != 0 || protocol == TCP)
    put16(checksum, ~fold((uint16_t)~get16(checksum) + addresses + change32(key->ports, ports)));
  return 1;
}

__attribute__((noinline)) static int process(uint8_t *p) {
  struct parsed key;
  if (!parse(p, &key)) return 0;
  int32_t node = find(&key, buckets[key.hash & mask]);
  return node < 0 ? 0 : finish(p, &key, lines + node);
}

__attribute__((noinline)) static int process_batch(uint8_t *p) {
  static struct parsed keys[BATCH];
  static int32_t nodes[BATCH];
  int done = 0;
  for (int i = 0; i < BATCH; i++) {
    if (!parse(p + i * SLOT, keys + i)) return 0;
    __builtin_prefetch(buckets + (keys[i].hash & mask));
  }
  for (int i = 0; i < BATCH; i++) {
    nodes[i] = buckets[keys[i].hash & mask];
    if (nodes[i] < 0) return 0;
    __builtin_prefetch(lines + nodes[i]);
  }
  for (int i = 0; i < BATCH; i++) {
    nodes[i] = find(keys + i, nodes[i]);
    if (nodes[i] < 0) return 0;
    const struct line *first = lines + nodes[i] - lines[nodes[i]].reply;
    if (lean) continue;
    __builtin_prefetch(first + !lines[nodes[i]].reply);
    __builtin_prefetch(first + 2);
  }
  for (int i = 0; i < BATCH; i++) done += finish(p + i * SLOT, keys + i, lines + nodes[i]);
  return done;
}

/* ---- connections ---- */

static void link_line(int32_t node) {
  struct line *line = lines + node;
  int32_t *head = buckets + (line->hash & mask);
  line->prev = -1;
  line->next = *head;
  if (*head >= 0) lines[*head].prev = node;
  *head = node;
}

static void unlink_line(int32_t node) {
  struct line *line = lines + node;
  if (line->next >= 0) lines[line->next].prev = line->prev;
  if (line->prev >= 0) lines[line->prev].next = line->next;
  else buckets[line->hash & mask] = line->next;
}

/* A connection from `key`, whose source becomes WAN and `port`, if its reply is free: its original line, or -1. */
static int32_t connect_from(const struct parsed *key, uint32_t port) {
  struct parsed reply = {.source = key->destination, .destination = WAN, .ports = key->ports << 16 | port};
  reply.hash = hash4(reply.source, reply.destination, reply.ports, protocol);
  if (find(&reply, buckets[reply.hash & mask]) >= 0 || free_count == 0) return -1;
  uint32_t slot = free_records[--free_count];
  struct record *record = record_at(slot);
  memset(record, 0, sizeof *record);
  const struct parsed *keys[2] = {key, &reply};
  for (int i = 0; i < 2; i++) {
    struct line *line = record->lines + i;
    const struct parsed *other = keys[!i];
    line->hash = keys[i]->hash;
    line->source = keys[i]->source, line->destination = keys[i]->destination, line->ports = keys[i]->ports;
    line->kind = protocol;
    line->reply = (uint32_t)i;
    line->to_source = other->destination, line->to_destination = other->source;
    line->to_ports = rotate(other->ports, 16);
    link_line((int32_t)(3 * slot) + i);
  }
  record->status = CONFIRMED;
  record->expires = now_ms + TIMEOUT_MS;
  live++;
  return (int32_t)(3 * slot);
}

static uint32_t state = 0x5eed;

/* xorshift32 (Marsaglia 2003), as in bench/path/load.ts. */
static uint32_t next_random(void) {
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

static uint32_t below(uint32_t limit) { return (uint32_t)((uint64_t)next_random() * limit >> 32); }

/* A first packet: picks a port from a random start on, makes the connection, translates. */
__attribute__((noinline)) static int process_new(uint8_t *p) {
  struct parsed key;
  if (!parse(p, &key)) return 0;
  int32_t node = find(&key, buckets[key.hash & mask]);
  if (node < 0) {
    uint32_t offset = below(PORTS);
    for (int tries = 0; tries < PORTS && node < 0; tries++) {
      node = connect_from(&key, FIRST_PORT + offset);
      if (++offset == PORTS) offset = 0;
    }
    if (node < 0) return 0;
  }
  return finish(p, &key, lines + node);
}

static uint32_t sweep(uint32_t slots) {
  uint32_t reaped = 0;
  for (uint32_t slot = 0; slot < slots; slot++) {
    struct record *record = record_at(slot);
    if (record->status == 0 || (int32_t)(record->expires - now_ms) > 0) continue;
    unlink_line((int32_t)(3 * slot));
    unlink_line((int32_t)(3 * slot) + 1);
    record->status = 0;
    free_records[free_count++] = slot;
    live--;
    reaped++;
  }
  return reaped;
}

/* ---- packets, and their time ---- */

static void write_frame(uint8_t *p, uint32_t source, uint32_t destination, uint32_t ports) {
  memset(p, 0, SLOT);
  put16(p, 0x4500), put16(p + 2, LENGTH), put16(p + 6, 0x4000);
  p[8] = 64, p[9] = protocol;
  put32(p + 12, source), put32(p + 16, destination), put32(p + 20, ports);
  put16(p + 10, ~sum16(p, 20));
  uint8_t *checksum = p + (protocol == UDP ? 26 : 36);
  if (protocol == UDP) put16(p + 24, LENGTH - 20);
  else put32(p + 24, 1001), put32(p + 28, 5001), put32(p + 32, 0x8010ffff), put32(p + 40, 0x0101080a), p[47] = 1;
  uint32_t sum = sum16(p + 20, LENGTH - 20) + sum16(p + 12, 8) + protocol + LENGTH - 20;
  put16(checksum, ~fold(sum));
}

static void write_packet(uint8_t *p, uint32_t flow, int reply) {
  uint32_t client = 0x0a010000 + (flow >> 10), server = 0xc6120000 + (flow >> 10), port = 20000 + (flow & 1023);
  if (reply) write_frame(p, server, WAN, SERVER_PORT << 16 | port);
  else write_frame(p, client, server, port << 16 | SERVER_PORT);
}

/* All of these have one port: only the first to a server of 4,096 may keep it, and does not here either. */
static void write_first(uint8_t *p, uint32_t flow) {
  write_frame(p, 0x0a010000 + flow, 0xc6120000 + (flow >> 12), 20000u << 16 | SERVER_PORT);
}

static double clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void check(int condition, const char *what) {
  if (condition) return;
  fprintf(stderr, "floor: %s\n", what);
  exit(1);
}

static void check_translated(void) {
  for (int i = 0; i < BURST; i++) {
    const uint8_t *p = frames + i * SLOT;
    check(p[8] == 63 && sum16(p, 20) == 0xffff, "a header's checksum is wrong");
    uint32_t sum = sum16(p + 20, LENGTH - 20) + sum16(p + 12, 8) + protocol + LENGTH - 20;
    check(fold(sum) == 0xffff, "a transport checksum is wrong");
  }
}

/* Pages as they are used, zero, and not huge ones: what a JavaScript engine's typed arrays get, too. */
static void *reserve(size_t bytes) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  check(memory != MAP_FAILED, "no memory");
  return memory;
}

static void make_table(uint32_t records) {
  uint32_t count = 1;
  while (count < BUCKETS_EACH * records) count *= 2;
  mask = count - 1;
  lines = reserve((size_t)records * sizeof(struct record));
  buckets = reserve((size_t)count * sizeof *buckets);
  memset(buckets, 0xff, (size_t)count * sizeof *buckets);
  free_records = reserve((size_t)records * sizeof *free_records);
  for (free_count = 0; free_count < records; free_count++) free_records[free_count] = records - 1 - free_count;
}

static double burst_of_established(int is_batch) {
  for (int i = 0; i < BURST; i++) write_packet(frames + i * SLOT, below(flows), i & 1);
  int done = 0;
  double start = clock_ns();
  if (is_batch) for (int i = 0; i < BURST; i += BATCH) done += process_batch(frames + i * SLOT);
  else for (int i = 0; i < BURST; i++) done += process(frames + i * SLOT);
  double passed = clock_ns() - start;
  now_ms++;
  check(done == BURST, "packets were dropped");
  sink += frames[26];
  return passed;
}

static void measure_established(int is_batch, int samples) {
  uint8_t frame[SLOT];
  make_table(flows);
  for (uint32_t flow = 0; flow < flows; flow++) {
    struct parsed key;
    write_packet(frame, flow, 0);
    check(parse(frame, &key) && connect_from(&key, key.ports >> 16) >= 0, "no connection");
    check(process(frame), "not established");
  }
  for (int n = 0; n < 200; n++) burst_of_established(is_batch);
  check_translated();
  printf("{\"samples\":[");
  for (int sample = 0; sample < samples; sample++) {
    double passed = 0;
    for (int n = 0; n < SAMPLE_BURSTS; n++) passed += burst_of_established(is_batch);
    printf("%s%.2f", sample ? "," : "", passed / (SAMPLE_BURSTS * BURST));
  }
  printf("],\"sink\":%llu}\n", (unsigned long long)sink);
}

static double first_packets(uint32_t *next, uint32_t count) {
  double passed = 0;
  for (uint32_t done = 0; done < count; done += BURST) {
    for (int i = 0; i < BURST; i++) {
      write_first(frames + i * SLOT, *next);
      *next = *next + 1 == 2 * flows ? 0 : *next + 1;
    }
    int made = 0;
    double start = clock_ns();
    for (int i = 0; i < BURST; i++) made += process_new(frames + i * SLOT);
    passed += clock_ns() - start;
    check(made == BURST, "a first packet was dropped");
  }
  return passed;
}

/* `flows` live; a quarter of them expires and comes anew in each round. */
static void measure_new(int samples) {
  uint32_t next = 0, share = flows / SHARES;
  make_table(flows);
  for (int i = 0; i < SHARES; i++) now_ms += TIMEOUT_MS / SHARES, first_packets(&next, share);
  check_translated();
  char begun[65536], *at = begun;
  printf("{\"expiry\":[");
  for (int sample = 0; sample < samples; sample++) {
    double passed = 0, expiry = 0;
    uint32_t made = 0;
    do {
      now_ms += TIMEOUT_MS / SHARES;
      double start = clock_ns();
      check(sweep(flows) == share, "not the oldest quarter expired");
      expiry += clock_ns() - start;
      passed += first_packets(&next, share);
      made += share;
    } while (made < 16384);
    check(live == flows, "connections are missing");
    printf("%s%.2f", sample ? "," : "", expiry / made);
    at += snprintf(at, 32, "%s%.2f", sample ? "," : "", (passed + expiry) / made);
  }
  printf("],\"samples\":[%s]}\n", begun);
}

int main(int count, char **words) {
  check(count == 5, "floor udp|tcp|lean FLOWS single|batch|new SAMPLES");
  protocol = strcmp(words[1], "tcp") ? UDP : TCP;
  lean = !strcmp(words[1], "lean");
  flows = (uint32_t)strtoul(words[2], NULL, 10);
  int samples = atoi(words[4]);
  check(flows >= SHARES * BURST && flows % (SHARES * BURST) == 0 && samples > 0 && samples < 4096, "bad numbers");
  if (!strcmp(words[3], "new")) measure_new(samples);
  else measure_established(!strcmp(words[3], "batch"), samples);
  return 0;
}
