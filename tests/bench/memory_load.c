// The origin and the clients of `memory.py`: they fill an edge with objects of given sizes.
//   cc -O2 -pthread -o memory_load memory_load.c
//   ./memory_load          prints the origin's port, then takes lines from stdin and answers each with `stored BYTES in COUNT`:
//   PORT CLIENTS BYTES HEAD_FROM HEAD_TO BODY_FROM BODY_TO PIECE_FROM PIECE_TO SLOW
// The clients ask the edge at PORT for new URLs, one connection each, until heads and bodies are BYTES in all, 1,200 more counted for each. Sizes are
// drawn evenly on a logarithmic scale. The URL says what the origin answers: /HEAD/BODY/PIECE/FRAMING/NUMBER, the body in
// writes of PIECE bytes, FRAMING `l` with a length or `c` in chunks. SLOW more connections ask for a body of 4 MB each and
// read nothing of it until the others are done.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <math.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// EACH: what an object takes beside its head and body, about.
enum { MOST_BODY = 8 << 20, MOST_HEAD = 64 << 10, READS = 64 << 10, EACH = 1200 };
struct range { double from, to; };
struct job { int port; long bytes; struct range head, body, piece; };
struct client { struct job *job; unsigned seed; int failed; };
static char filling[MOST_BODY];
static atomic_long number, sent;

static int all(int fd, const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);
        if (n <= 0) return -1;
        bytes += n; length -= n;
    }
    return 0;
}

static int answer(int fd, long head, long body, long piece, char framing) {
    static __thread char text[MOST_HEAD + 512];
    int at = sprintf(text, "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nX-Filling: ");
    memset(text + at, 'z', head); at += head;
    if (framing == 'l') at += sprintf(text + at, "\r\nContent-Length: %ld\r\n\r\n", body);
    else at += sprintf(text + at, "\r\nTransfer-Encoding: chunked\r\n\r\n");
    if (all(fd, text, at)) return -1;
    for (long done = 0; done < body; ) {
        long now = body - done < piece ? body - done : piece;
        char line[32];
        if (framing == 'c' && all(fd, line, sprintf(line, "%lx\r\n", now))) return -1;
        if (all(fd, filling, now)) return -1;
        if (framing == 'c' && all(fd, "\r\n", 2)) return -1;
        done += now;
    }
    return framing == 'c' ? all(fd, "0\r\n\r\n", 5) : 0;
}

static void *serve(void *arg) {
    int fd = (int)(long)arg, on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    char head[8192]; size_t filled = 0;
    for (;;) {
        ssize_t n = recv(fd, head + filled, sizeof head - 1 - filled, 0);
        if (n <= 0) break;
        filled += n; head[filled] = 0;
        char *end = strstr(head, "\r\n\r\n");
        if (end == NULL) continue;
        long sizes[3]; char framing;
        if (sscanf(head, "GET /%ld/%ld/%ld/%c/", &sizes[0], &sizes[1], &sizes[2], &framing) != 4) break;
        if (answer(fd, sizes[0], sizes[1], sizes[2], framing)) break;
        filled = 0;
    }
    close(fd);
    return NULL;
}

static void *origin(void *arg) {
    for (int listener = (int)(long)arg; listener >= 0; ) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) continue;
        pthread_t thread;
        pthread_create(&thread, NULL, serve, (void *)(long)fd);
        pthread_detach(thread);
    }
    return NULL;
}

static int reach(int port) {
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) { close(fd); return -1; }
    return fd;
}

static int ask(int fd, long head, long body, long piece, char framing) {
    char text[256];
    int length = sprintf(text, "GET /%ld/%ld/%ld/%c/%ld HTTP/1.1\r\nHost: a.test\r\n\r\n", head, body, piece, framing,
        atomic_fetch_add(&number, 1));
    return all(fd, text, length);
}

// Reads one answer whose body is all `x`. In chunks it has ended when as many letters have come and the last line is the
// empty one.
static int hear(int fd, long body) {
    static __thread char in[MOST_HEAD + READS];
    size_t filled = 0; char *end;
    do {
        ssize_t n = recv(fd, in + filled, sizeof in - 1 - filled, 0);
        if (n <= 0) return -1;
        filled += n; in[filled] = 0;
    } while ((end = strstr(in, "\r\n\r\n")) == NULL);
    if (memcmp(in, "HTTP/1.1 200", 12)) return -1;
    char *start = end + 4;
    long left = filled - (start - in), got = 0;
    char last[5] = "";
    int is_chunked = strcasestr(in, "\r\ntransfer-encoding: chunked\r\n") != NULL;
    for (;;) {
        for (long i = 0; i < left; i++) got += start[i] == 'x';
        for (long i = left > 5 ? left - 5 : 0; i < left; i++) { memmove(last, last + 1, 4); last[4] = start[i]; }
        if (got == body && (!is_chunked || !memcmp(last, "0\r\n\r\n", 5))) return 0;
        if (got > body) return -1;
        start = in + MOST_HEAD;
        left = recv(fd, start, READS, 0);
        if (left <= 0) return -1;
    }
}

static long draw(struct range range, unsigned *seed) {
    double at = rand_r(seed) / (double)RAND_MAX;
    return lround(exp(log(range.from) + at * (log(range.to) - log(range.from))));
}

static void *load(void *arg) {
    struct client *client = arg;
    struct job *job = client->job;
    int fd = reach(job->port);
    while (fd >= 0 && atomic_load(&sent) < job->bytes) {
        long head = draw(job->head, &client->seed), body = draw(job->body, &client->seed);
        long piece = draw(job->piece, &client->seed);
        char framing = rand_r(&client->seed) % 2 ? 'l' : 'c';
        if (ask(fd, head, body, piece, framing) || hear(fd, body)) { client->failed = 1; break; }
        atomic_fetch_add(&sent, head + body + EACH);
    }
    if (fd >= 0) close(fd); else client->failed = 1;
    return NULL;
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    memset(filling, 'x', sizeof filling);
    struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof here;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&here, length) || listen(listener, 1024)) return 1;
    getsockname(listener, (struct sockaddr *)&here, &length);
    pthread_t thread;
    pthread_create(&thread, NULL, origin, (void *)(long)listener);
    printf("%d\n", ntohs(here.sin_port)); fflush(stdout);
    struct job job; int clients, slow;
    while (scanf("%d %d %ld %lf %lf %lf %lf %lf %lf %d", &job.port, &clients, &job.bytes, &job.head.from, &job.head.to,
            &job.body.from, &job.body.to, &job.piece.from, &job.piece.to, &slow) == 10) {
        atomic_store(&sent, 0);
        long before = atomic_load(&number);
        int *waiting = calloc(slow + 1, sizeof *waiting), failed = 0;
        for (int i = 0; i < slow; i++) {
            waiting[i] = reach(job.port);
            failed |= waiting[i] < 0 || ask(waiting[i], 200, 4000000, 65536, 'l');
        }
        pthread_t *threads = calloc(clients, sizeof *threads);
        struct client *all_clients = calloc(clients, sizeof *all_clients);
        for (int i = 0; i < clients; i++) {
            all_clients[i] = (struct client){ &job, 7919u * (i + 1), 0 };
            pthread_create(&threads[i], NULL, load, &all_clients[i]);
        }
        for (int i = 0; i < clients; i++) { pthread_join(threads[i], NULL); failed |= all_clients[i].failed; }
        for (int i = 0; i < slow; i++) close(waiting[i]);
        printf("%s %ld in %ld\n", failed ? "failed" : "stored", atomic_load(&sent), atomic_load(&number) - before);
        fflush(stdout);
        free(waiting); free(threads); free(all_clients);
    }
    return 0;
}
