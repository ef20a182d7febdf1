// The floor of udp_echo.c past the network stack: AF_XDP. A program of 25 instructions on the device hands UDP datagrams
// for PORT to this socket and leaves everything else to the kernel; the answer is the question's frame with addresses
// and ports swapped, checksums made anew.
// usage: echo_xdp DEVICE PORT [EXTRA] [native|generic] [BUSY_US] [nosum]    root; needs libxdp and libbpf 1.x
// Prints calls and datagrams on SIGTERM as echo_mmsg does.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xdp/xsk.h>
#define FRAMES 4096
#define BYTES 2048
#define BATCH 64
#define HEADERS 42
#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69
#define SO_BUSY_POLL_BUDGET 70
#endif

static volatile sig_atomic_t stop;
static void on_term(int signal) { stop = signal; }

static void must(int ok, const char *what) { if (!ok) { fprintf(stderr, "%s: %s\n", what, strerror(errno)); exit(1); } }

#define LOAD(size, to, base, at) {.code = BPF_LDX | BPF_MEM | (size), .dst_reg = to, .src_reg = base, .off = at}
#define COPY(to, of) {.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = to, .src_reg = of}
#define PUT(to, value) {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = to, .imm = value}
#define ADD(to, value) {.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = to, .imm = value}
#define AND(to, value) {.code = BPF_ALU64 | BPF_AND | BPF_K, .dst_reg = to, .imm = value}
#define UNLESS(reg, value, skip) {.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = reg, .off = skip, .imm = value}
#define ABOVE(reg, other, skip) {.code = BPF_JMP | BPF_JGT | BPF_X, .dst_reg = reg, .src_reg = other, .off = skip}

static void attach(int device, int port, int socket, unsigned mode) {
  int map = bpf_map_create(BPF_MAP_TYPE_XSKMAP, "sockets", 4, 4, 1, NULL), queue = 0;
  must(map >= 0, "BPF_MAP_CREATE"); must(!bpf_map_update_elem(map, &queue, &socket, 0), "BPF_MAP_UPDATE_ELEM");
  struct bpf_insn program[] = {
      COPY(6, 1), LOAD(BPF_W, 2, 6, 0), LOAD(BPF_W, 3, 6, 4), COPY(4, 2), ADD(4, HEADERS),  // data, data_end
      ABOVE(4, 3, 17),
      LOAD(BPF_H, 5, 2, 12), UNLESS(5, htons(0x0800), 15),             // IPv4
      LOAD(BPF_B, 5, 2, 14), UNLESS(5, 0x45, 13),                      // without options
      LOAD(BPF_H, 5, 2, 20), AND(5, htons(0x3fff)), UNLESS(5, 0, 10),  // no fragment
      LOAD(BPF_B, 5, 2, 23), UNLESS(5, IPPROTO_UDP, 8),
      LOAD(BPF_H, 5, 2, 36), UNLESS(5, htons(port), 6),
      LOAD(BPF_W, 2, 6, 16),                                           // rx_queue_index
      {.code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 1, .src_reg = BPF_PSEUDO_MAP_FD, .imm = map}, {0},
      PUT(3, XDP_PASS), {.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect_map}, {.code = BPF_JMP | BPF_EXIT},
      PUT(0, XDP_PASS), {.code = BPF_JMP | BPF_EXIT}};
  int loaded = bpf_prog_load(BPF_PROG_TYPE_XDP, "to_socket", "Dual MIT/GPL", program, sizeof program / sizeof *program, NULL);
  must(loaded >= 0, "BPF_PROG_LOAD");
  LIBBPF_OPTS(bpf_link_create_opts, options, .flags = mode);
  must(bpf_link_create(loaded, device, BPF_XDP, &options) >= 0, "BPF_LINK_CREATE");  // ends with the process
}

static unsigned sum(const void *from, int bytes, unsigned s) {
  const unsigned short *w = from;
  for (; bytes > 1; bytes -= 2) s += *w++;
  return bytes ? s + *(const unsigned char *)w : s;
}

static unsigned short folded(unsigned s) { s = (s >> 16) + (s & 0xffff); return ~(s + (s >> 16)); }

static int echo(unsigned char *frame, int extra, int with_sum) {
  unsigned char mac[6]; memcpy(mac, frame, 6); memcpy(frame, frame + 6, 6); memcpy(frame + 6, mac, 6);
  struct iphdr *ip = (void *)(frame + 14); struct udphdr *udp = (void *)(ip + 1);
  unsigned address = ip->saddr; ip->saddr = ip->daddr; ip->daddr = address;
  unsigned short port = udp->source; udp->source = udp->dest; udp->dest = port;
  frame[HEADERS + 2] |= 0x80;
  int length = ntohs(udp->len) + extra;
  memset(frame + 34 + length - extra, 0, extra);
  udp->len = htons(length); ip->tot_len = htons(20 + length); ip->ttl = 64; ip->check = 0; ip->check = folded(sum(ip, 20, 0));
  udp->check = 0;
  if (with_sum) { unsigned short s = folded(sum(udp, length, sum(&ip->saddr, 8, htons(IPPROTO_UDP) + udp->len))); udp->check = s ? s : 0xffff; }
  return 34 + length;
}

int main(int argc, char **argv) {
  int extra = argc > 3 ? atoi(argv[3]) : 16, generic = argc > 4 && !strcmp(argv[4], "generic"), busy = argc > 5 ? atoi(argv[5]) : 0, with_sum = argc < 7;
  char *area = mmap(NULL, FRAMES * BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  struct xsk_umem *umem; struct xsk_ring_prod fill, tx; struct xsk_ring_cons done, rx; struct xsk_socket *xsk;
  struct xsk_umem_config of_umem = {.fill_size = FRAMES, .comp_size = FRAMES, .frame_size = BYTES};
  struct xsk_socket_config of_socket = {.rx_size = FRAMES, .tx_size = FRAMES, .libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD, .bind_flags = XDP_COPY | XDP_USE_NEED_WAKEUP};
  errno = -xsk_umem__create(&umem, area, FRAMES * BYTES, &fill, &done, &of_umem); must(!errno, "XDP_UMEM_REG");
  // The kernel frees the queue of a program that has ended a little later.
  for (int tries = 0; (errno = -xsk_socket__create(&xsk, argv[1], 0, umem, &rx, &tx, &of_socket)) == EBUSY && tries < 100; tries++) usleep(10000);
  must(!errno, "bind AF_XDP");
  int fd = xsk_socket__fd(xsk), on = 1, budget = BATCH;
  if (busy) {
    must(!setsockopt(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, &on, sizeof on), "SO_PREFER_BUSY_POLL");
    must(!setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL, &busy, sizeof busy), "SO_BUSY_POLL");
    must(!setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL_BUDGET, &budget, sizeof budget), "SO_BUSY_POLL_BUDGET");
  }
  attach(if_nametoindex(argv[1]), atoi(argv[2]), fd, generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
  unsigned at = 0, to = 0, from = 0;
  xsk_ring_prod__reserve(&fill, FRAMES, &at);
  for (int i = 0; i < FRAMES; i++) *xsk_ring_prod__fill_addr(&fill, at + i) = (__u64)i * BYTES;
  xsk_ring_prod__submit(&fill, FRAMES);
  struct sigaction term = {.sa_handler = on_term}; sigaction(SIGTERM, &term, NULL);
  struct pollfd p = {fd, POLLIN, 0}; long polls = 0, sends = 0, got = 0;
  while (!stop) {
    unsigned n = xsk_ring_cons__peek(&rx, BATCH, &from);
    if (!n) { poll(&p, 1, -1); polls++; continue; }
    if (xsk_ring_prod__reserve(&tx, n, &to) != n) { xsk_ring_cons__cancel(&rx, n); sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0); sends++; }
    else {
      for (unsigned i = 0; i < n; i++) {
        const struct xdp_desc *d = xsk_ring_cons__rx_desc(&rx, from + i);
        int length = echo(xsk_umem__get_data(area, d->addr), extra, with_sum);
        *xsk_ring_prod__tx_desc(&tx, to + i) = (struct xdp_desc){.addr = d->addr, .len = length};
      }
      xsk_ring_cons__release(&rx, n); xsk_ring_prod__submit(&tx, n); got += n;
      do sends++; while (sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno == EAGAIN && !stop);
    }
    unsigned k = xsk_ring_cons__peek(&done, FRAMES, &from);
    if (k) {
      xsk_ring_prod__reserve(&fill, k, &to);
      for (unsigned i = 0; i < k; i++) *xsk_ring_prod__fill_addr(&fill, to + i) = *xsk_ring_cons__comp_addr(&done, from + i) & ~(__u64)(BYTES - 1);
      xsk_ring_prod__submit(&fill, k); xsk_ring_cons__release(&done, k);
    }
  }
  struct xdp_statistics lost = {0}; socklen_t size = sizeof lost; getsockopt(fd, SOL_XDP, XDP_STATISTICS, &lost, &size);
  printf("{\"receives\": %ld, \"sends\": %ld, \"datagrams\": %ld, \"dropped\": %llu}\n", polls, sends, got, lost.rx_dropped + lost.rx_ring_full);
}
