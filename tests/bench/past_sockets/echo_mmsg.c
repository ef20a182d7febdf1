// udp_echo.c with its choices open: what batch sizes, ways to wait, segmentation and busy polling cost or save.
// usage: echo_mmsg ADDRESS PORT [NAME=VALUE]...
//   batch=64    packets a call              extra=16   bytes appended to each answer
//   wait=block  recvmmsg waits              wait=epoll epoll_wait whenever there is nothing
//   wait=first  epoll_wait before each call wait=spin  asks for us=50 microseconds in vain before recvmmsg waits
//   wait=nap    after a batch of 8 at most, less than 2 * us after the one before, sleeps us=50 microseconds; the more
//               naps in a row brought one packet only, the longer until the next
//   busy=N      SO_BUSY_POLL of N microseconds, and with epoll the same for its descriptor; prefer=1 SO_PREFER_BUSY_POLL
//   gso=1       neighbours of one client and length leave as one message (UDP_SEGMENT); gro=1 UDP_GRO, too
//   connect=1   connects to the first client   pktinfo=1 IP_PKTINFO   timeout=1 SO_RCVTIMEO   pmtu=N IP_MTU_DISCOVER
// On SIGTERM prints one JSON line: calls, datagrams, and the id of the NAPI context that the socket knows (0: none).
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#define MOST 64
#define ROOM 65536
#define SEGMENTS 64
#define SEGMENTED_BYTES 60000
#define FEW 8
#define MOST_VAIN 64
#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69
#endif

static int choices; static char **choice;
static const char *value(const char *name, const char *otherwise) {
  size_t l = strlen(name);
  for (int i = 0; i < choices; i++) if (!strncmp(choice[i], name, l) && choice[i][l] == '=') return choice[i] + l + 1;
  return otherwise;
}
static int number(const char *name, const char *otherwise) { return atoi(value(name, otherwise)); }

static volatile sig_atomic_t stop;
static void on_term(int signal) { stop = signal; }

static void set(int fd, int level, int name, int to) { if (setsockopt(fd, level, name, &to, sizeof to)) perror("setsockopt"); }

static double now_us(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e6 + t.tv_nsec / 1e3; }

static char data[MOST][ROOM], pad[512], control[MOST][64], segment_size[MOST * SEGMENTS][CMSG_SPACE(2)];
static struct sockaddr_in from[MOST];
static struct iovec in[MOST], out[MOST * SEGMENTS * 2];
static struct mmsghdr m[MOST], answer[MOST * SEGMENTS];
static int batch, extra, gso, gro, with_control;
static long got;

static void prepare(void) {
  for (int i = 0; i < batch; i++) {
    in[i] = (struct iovec){data[i], gro ? ROOM : 1500};
    m[i] = (struct mmsghdr){.msg_hdr = {.msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &in[i], .msg_iovlen = 1}};
    if (with_control) { m[i].msg_hdr.msg_control = control[i]; m[i].msg_hdr.msg_controllen = sizeof control[i]; }
  }
}

// The bytes of each datagram that UDP_GRO put together in this message.
static int segment_of(struct msghdr *h, int length) {
  for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c))
    if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) { int s; memcpy(&s, CMSG_DATA(c), sizeof s); return s; }
  return length;
}

static void in_segments(struct msghdr *h, char *room, unsigned short bytes) {
  h->msg_control = room; h->msg_controllen = CMSG_SPACE(2);
  struct cmsghdr *c = CMSG_FIRSTHDR(h);
  c->cmsg_level = SOL_UDP; c->cmsg_type = UDP_SEGMENT; c->cmsg_len = CMSG_LEN(2);
  memcpy(CMSG_DATA(c), &bytes, 2);
}

static int same(const struct sockaddr_in *a, const struct sockaddr_in *b) { return a->sin_port == b->sin_port && a->sin_addr.s_addr == b->sin_addr.s_addr; }

// Answers `n` messages: how many messages they are. All segments of one are equally long, but the last may be shorter.
static int answers(int n) {
  int count = 0, pieces = 0, run = 0, bytes = 0, open = 0;
  for (int i = 0; i < n; i++) {
    int length = m[i].msg_len, segment = gro ? segment_of(&m[i].msg_hdr, length) : length;
    for (int at = 0; at < length; at += segment) {
      int l = length - at < segment ? length - at : segment;
      data[i][at + 2] |= 0x80; got++;
      int joins = (gso || gro) && open && l <= bytes && run < SEGMENTS && (run + 1) * (bytes + extra) < SEGMENTED_BYTES && same(&from[i], answer[count - 1].msg_hdr.msg_name);
      if (!joins) {
        answer[count] = (struct mmsghdr){.msg_hdr = {.msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &out[pieces]}};
        if (with_control && !gro) { answer[count].msg_hdr.msg_control = m[i].msg_hdr.msg_control; answer[count].msg_hdr.msg_controllen = m[i].msg_hdr.msg_controllen; }
        count++; run = 0; bytes = l; open = 1;
      }
      struct msghdr *h = &answer[count - 1].msg_hdr;
      out[pieces++] = (struct iovec){data[i] + at, gro ? l : l + extra}; h->msg_iovlen++;
      if (gro) { out[pieces++] = (struct iovec){pad, extra}; h->msg_iovlen++; }
      if (++run == 2) in_segments(h, segment_size[count - 1], bytes + extra);
      if (l < bytes) open = 0;
    }
  }
  return count;
}

// Sleeps after a batch of `n`, if more than one packet may come meanwhile: whether it did.
static int nap(int n, int us) {
  static double last; static int napped, vain, skip;
  double t = now_us(); int soon = t - last < 2 * us && n <= FEW; last = t;
  if (napped) vain = n > 1 ? 0 : vain < MOST_VAIN ? vain * 2 + 1 : vain;
  if (napped && vain > 1) skip = vain;
  napped = soon && !skip; if (skip) skip--;
  if (!napped) return 0;
  struct timespec pause = {0, us * 1000}; clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL); last += us;
  return 1;
}

int main(int argc, char **argv) {
  if (argc < 3) { fprintf(stderr, "usage: echo_mmsg ADDRESS PORT [NAME=VALUE]...\n"); return 2; }
  choices = argc - 3; choice = argv + 3;
  const char *wait = value("wait", "block"); int us = number("us", "50"), busy = number("busy", "0"), prefer = number("prefer", "0"), to_connect = number("connect", "0");
  int first = !strcmp(wait, "first"), epoll = first || !strcmp(wait, "epoll"), spin = !strcmp(wait, "spin"), naps = !strcmp(wait, "nap");
  batch = number("batch", "64"); extra = number("extra", "16"); gso = number("gso", "0"); gro = number("gro", "0"); with_control = gro || number("pktinfo", "0");
  int fd = socket(AF_INET, SOCK_DGRAM, 0), e = epoll_create1(0);
  set(fd, SOL_SOCKET, SO_REUSEPORT, 1); set(fd, SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20);
  set(fd, IPPROTO_IP, IP_MTU_DISCOVER, number("pmtu", "1"));
  if (busy) set(fd, SOL_SOCKET, SO_BUSY_POLL, busy);
  if (prefer) set(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, 1);
  if (gro) set(fd, SOL_UDP, UDP_GRO, 1);
  if (number("pktinfo", "0")) set(fd, IPPROTO_IP, IP_PKTINFO, 1);
  if (number("timeout", "0")) { struct timeval half = {0, 500000}; setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &half, sizeof half); }
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2])), .sin_addr.s_addr = inet_addr(argv[1])};
  if (bind(fd, (void *)&a, sizeof a)) { perror("bind"); return 1; }
  struct epoll_event event = {.events = EPOLLIN}; epoll_ctl(e, EPOLL_CTL_ADD, fd, &event);
  struct { unsigned usecs; unsigned short budget; unsigned char prefer, zero; } polled = {busy, 64, prefer, 0};  // epoll_params of Linux 6.9
  if (busy && epoll && ioctl(e, _IOW(0x8A, 0x01, polled), &polled)) perror("EPIOCSPARAMS");
  prctl(PR_SET_TIMERSLACK, 1);
  struct sigaction term = {.sa_handler = on_term}; sigaction(SIGTERM, &term, NULL);
  long receives = 0, empty = 0, other_waits = 0, sends = 0, messages = 0; double idle_since = 0;
  while (!stop) {
    prepare();
    if (first) { epoll_wait(e, &event, 1, -1); other_waits++; }
    int blocks = !epoll && !(spin && (!idle_since || now_us() - idle_since < us));
    int n = recvmmsg(fd, m, batch, blocks ? MSG_WAITFORONE : MSG_DONTWAIT, NULL); receives++;
    if (n <= 0) {
      empty++;
      if (epoll && !first) { epoll_wait(e, &event, 1, -1); other_waits++; }
      if (spin && !idle_since) idle_since = now_us();
      continue;
    }
    idle_since = 0;
    if (to_connect) { if (connect(fd, (void *)&from[0], sizeof from[0])) perror("connect"); to_connect = 0; }
    int count = answers(n); messages += count;
    for (int s = 0; s < count;) { int k = sendmmsg(fd, answer + s, count - s, 0); sends++; s += k > 0 ? k : 1; }
    if (naps) other_waits += nap(n, us);
  }
  unsigned napi = 0; socklen_t size = sizeof napi; getsockopt(fd, SOL_SOCKET, SO_INCOMING_NAPI_ID, &napi, &size);
  printf("{\"receives\": %ld, \"empty\": %ld, \"other_waits\": %ld, \"sends\": %ld, \"datagrams\": %ld, \"messages\": %ld, \"napi\": %u}\n", receives, empty, other_waits, sends, got, messages, napi);
}
