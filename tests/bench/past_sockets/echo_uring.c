// The floor of udp_echo.c on io_uring: one multishot recvmsg into a ring of provided buffers, each answer a send from
// the buffer that brought the question, one io_uring_enter for a batch of answers and the next wait.
// usage: echo_uring ADDRESS PORT [EXTRA] [WAIT_FOR] [WAIT_US]    waits for so many packets, but no longer than WAIT_US
// Prints calls and datagrams on SIGTERM as echo_mmsg does. Needs liburing 2.3 and Linux 6.1.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#define BUFFERS 1024
#define BYTES 2048
#define ANSWERS 512
enum { RECEIVE = 1, SEND };

static volatile sig_atomic_t stop;
static void on_term(int signal) { stop = signal; }

static struct io_uring ring;
static struct io_uring_buf_ring *provided;
static char (*room)[BYTES];
static struct msghdr shape = {.msg_namelen = sizeof(struct sockaddr_in)};

static void arm(void) {
  struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
  io_uring_prep_recvmsg_multishot(sqe, 0, &shape, 0);
  sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT; sqe->buf_group = 0; sqe->user_data = RECEIVE;
}

static void provide(const unsigned short *ids, int count) {
  for (int i = 0; i < count; i++) io_uring_buf_ring_add(provided, room[ids[i]], BYTES, ids[i], io_uring_buf_ring_mask(BUFFERS), i);
  io_uring_buf_ring_advance(provided, count);
}

int main(int argc, char **argv) {
  int extra = argc > 3 ? atoi(argv[3]) : 16, wait_for = argc > 4 ? atoi(argv[4]) : 1, wait_us = argc > 5 ? atoi(argv[5]) : 0;
  int fd = socket(AF_INET, SOCK_DGRAM, 0), on = 1, buf = 4 << 20, error;
  setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buf, sizeof buf);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2])), .sin_addr.s_addr = inet_addr(argv[1])};
  if (bind(fd, (void *)&a, sizeof a)) { perror("bind"); return 1; }
  struct io_uring_params p = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE, .cq_entries = 4 * BUFFERS};
  if ((error = io_uring_queue_init_params(ANSWERS + 8, &ring, &p))) { fprintf(stderr, "io_uring_setup: %s\n", strerror(-error)); return 1; }
  if ((error = io_uring_register_files(&ring, &fd, 1))) { fprintf(stderr, "register files: %s\n", strerror(-error)); return 1; }
  io_uring_register_ring_fd(&ring);
  if (posix_memalign((void **)&provided, 4096, BUFFERS * sizeof(struct io_uring_buf)) || posix_memalign((void **)&room, 4096, BUFFERS * BYTES)) return 1;
  struct io_uring_buf_reg reg = {.ring_addr = (unsigned long)provided, .ring_entries = BUFFERS, .bgid = 0};
  if ((error = io_uring_register_buf_ring(&ring, &reg, 0))) { fprintf(stderr, "register buffers: %s\n", strerror(-error)); return 1; }
  io_uring_buf_ring_init(provided);
  static unsigned short used[BUFFERS];
  for (int i = 0; i < BUFFERS; i++) used[i] = i;
  provide(used, BUFFERS);
  struct sigaction term = {.sa_handler = on_term}; sigaction(SIGTERM, &term, NULL);
  long enters = 0, got = 0, armed = 0, refused = 0; int held = 0, live = 0;
  while (!stop) {
    if (!live) { arm(); live = 1; armed++; }
    struct io_uring_cqe *cqe; struct __kernel_timespec most = {0, wait_us * 1000};
    if (wait_us) io_uring_submit_and_wait_timeout(&ring, &cqe, wait_for, &most, NULL);
    else io_uring_submit_and_wait(&ring, wait_for);
    enters++;
    // A send with MSG_DONTWAIT is over when it is submitted: its buffer is free.
    provide(used, held); held = 0;
    unsigned head, seen = 0;
    io_uring_for_each_cqe(&ring, head, cqe) {
      if (held == ANSWERS) break;
      seen++;
      if (cqe->user_data == SEND) { refused++; continue; }
      if (!(cqe->flags & IORING_CQE_F_MORE)) live = 0;
      if (!(cqe->flags & IORING_CQE_F_BUFFER)) continue;
      unsigned short id = cqe->flags >> IORING_CQE_BUFFER_SHIFT; used[held++] = id;
      struct io_uring_recvmsg_out *o = cqe->res < 0 ? NULL : io_uring_recvmsg_validate(room[id], cqe->res, &shape);
      if (!o) continue;
      unsigned char *packet = io_uring_recvmsg_payload(o, &shape);
      packet[2] |= 0x80; got++;
      struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
      io_uring_prep_send(sqe, 0, packet, io_uring_recvmsg_payload_length(o, cqe->res, &shape) + extra, MSG_DONTWAIT);
      io_uring_prep_send_set_addr(sqe, io_uring_recvmsg_name(o), sizeof(struct sockaddr_in));
      sqe->flags |= IOSQE_FIXED_FILE | IOSQE_CQE_SKIP_SUCCESS; sqe->user_data = SEND;
    }
    io_uring_cq_advance(&ring, seen);
  }
  printf("{\"receives\": %ld, \"datagrams\": %ld, \"armed\": %ld, \"refused\": %ld}\n", enters, got, armed, refused);
}
