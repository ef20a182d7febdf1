// DNS load over UDP: keeps WINDOW queries in flight with sendmmsg and recvmmsg from SOCKS sockets, so that one
// core of load can saturate one core of server; or, with a RATE, sends so many a second. Prints one JSON line.
// usage: udp_blast [ADDRESS:]PORT QUERIES.bin SECONDS [WINDOW] [SOCKS] [RATE] [random]
// QUERIES.bin: (u16 big-endian length, packet)*. With `random` it never sleeps, and queries come as from
// many clients that know nothing of each other: each microsecond has the same chance of one.
// Queries without an answer a quarter of a second after the last one that came make room for others; lost are those
// that have none half a second after the end. Latencies are microseconds from the call that sent a query to the one
// that brought its answer.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#define BATCH 64
#define MOST_US 1000000

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }

static long histogram[MOST_US + 1];

static long percentile(double part, long of) {
  long seen = 0, us = 0;
  while (us < MOST_US && (seen += histogram[us]) < part * of) us++;
  return us;
}

int main(int argc, char **argv) {
  if (argc < 4) { fprintf(stderr, "usage: udp_blast [ADDRESS:]PORT QUERIES.bin SECONDS [WINDOW] [SOCKS] [RATE] [random]\n"); return 2; }
  char *colon = strchr(argv[1], ':'); int port = atoi(colon ? colon + 1 : argv[1]), random = argc > 7;
  if (colon) *colon = 0;
  int window = argc > 4 ? atoi(argv[4]) : 512, socks = argc > 5 ? atoi(argv[5]) : 8;
  double secs = atof(argv[3]), rate = argc > 6 ? atof(argv[6]) : 0;
  FILE *f = fopen(argv[2], "rb");
  if (!f) { perror(argv[2]); return 1; }
  fseek(f, 0, SEEK_END); long size = ftell(f); rewind(f);
  unsigned char *all = malloc(size); if (fread(all, 1, size, f) != (size_t)size) return 1;
  long cap = size / 14, n = 0; unsigned char **pkt = malloc(cap * sizeof *pkt); unsigned short *len = malloc(cap * 2);
  for (long o = 0; o + 2 <= size && n < cap;) { len[n] = all[o] << 8 | all[o + 1]; pkt[n++] = all + o + 2; o += 2 + len[n - 1]; }
  int fd[64], inflight[64] = {0}; struct pollfd p[64];
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = colon ? inet_addr(argv[1]) : htonl(INADDR_LOOPBACK)};
  for (int s = 0; s < socks; s++) {
    int b = 8 << 20; fd[s] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    setsockopt(fd[s], SOL_SOCKET, SO_RCVBUFFORCE, &b, sizeof b); setsockopt(fd[s], SOL_SOCKET, SO_SNDBUFFORCE, &b, sizeof b);
    if (connect(fd[s], (void *)&a, sizeof a)) return 1;
    p[s] = (struct pollfd){fd[s], POLLIN, 0};
  }
  static unsigned char rb[BATCH][4096]; static struct iovec iov[BATCH]; static struct mmsghdr m[BATCH]; static double sent_at[65536];
  long sent = 0, got = 0, rcode[16] = {0}, bytes = 0, answers = 0, next = 0; int per = window / socks; if (per < 1) per = 1;
  double t0 = now(), end = t0 + secs, last = t0, drawn = t0; long due_by_chance = 0;
  while (1) {
    double t = now(); if (t >= end) break;
    for (; random && drawn < t; drawn += 1e-6) due_by_chance += drand48() < rate * 1e-6;
    int progress = 0;
    for (int s = 0; s < socks; s++) {
      int want = per - inflight[s]; if (want > BATCH) want = BATCH;
      if (rate > 0) { double due = (random ? due_by_chance : (t - t0) * rate) - sent; if (want > due) want = due; }
      if (want > 0) {
        for (int i = 0; i < want; i++) {
          unsigned char *q = pkt[(next + i) % n]; q[0] = (sent + i) >> 8; q[1] = sent + i; sent_at[(sent + i) & 0xffff] = t;
          iov[i] = (struct iovec){q, len[(next + i) % n]}; memset(&m[i], 0, sizeof m[i]); m[i].msg_hdr.msg_iov = &iov[i]; m[i].msg_hdr.msg_iovlen = 1;
        }
        int k = sendmmsg(fd[s], m, want, 0);
        if (k > 0) { inflight[s] += k; sent += k; next = (next + k) % n; progress = 1; }
      }
      for (int i = 0; i < BATCH; i++) { iov[i] = (struct iovec){rb[i], 4096}; memset(&m[i], 0, sizeof m[i]); m[i].msg_hdr.msg_iov = &iov[i]; m[i].msg_hdr.msg_iovlen = 1; }
      int k = recvmmsg(fd[s], m, BATCH, MSG_DONTWAIT, NULL);
      double came = k > 0 ? now() : t;
      for (int i = 0; i < k; i++) {
        long us = (came - sent_at[rb[i][0] << 8 | rb[i][1]]) * 1e6;
        histogram[us < 0 ? 0 : us > MOST_US ? MOST_US : us]++;
        got++; rcode[rb[i][3] & 15]++; answers += rb[i][6] << 8 | rb[i][7]; bytes += m[i].msg_len;
      }
      if (k > 0) { inflight[s] -= k; if (inflight[s] < 0) inflight[s] = 0; progress = 1; last = t; }
    }
    if (!progress) {
      struct timespec pause = {0, random ? 0 : rate > 0 ? 50000 : 5000000};
      ppoll(p, socks, &pause, NULL);
      if (now() - last > 0.25) { for (int s = 0; s < socks; s++) inflight[s] = 0; last = now(); }
    }
  }
  double dt = now() - t0; long in_time = got;
  while (got < sent && now() - t0 - dt < 0.5) {
    poll(p, socks, 50);
    for (int s = 0; s < socks; s++) while (recv(fd[s], rb[0], sizeof rb[0], MSG_DONTWAIT) > 0) got++;
  }
  printf("{\"qps\": %.0f, \"sent\": %ld, \"got\": %ld, \"lost\": %ld, \"noerror\": %ld, \"nxdomain\": %ld, \"other\": %ld, \"answers\": %ld, \"bytes\": %ld, \"secs\": %.2f, \"p50_us\": %ld, \"p99_us\": %ld, \"max_us\": %ld}\n",
         in_time / dt, sent, got, sent - got, rcode[0], rcode[3], in_time - rcode[0] - rcode[3], answers, bytes, dt, percentile(0.5, in_time), percentile(0.99, in_time), percentile(1, in_time));
}
