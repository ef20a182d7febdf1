// Preloaded into an edge: what its disk's folder ($FAULTS_BELOW) does when the file $FAULTS names says so.
//   "full": no room for a write · "eio": reads, writes and syncs fail · "stuck": a sync takes longer than anyone waits
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int says(const char *word) {
    static __thread int inside;
    char text[16] = "";
    const char *name = getenv("FAULTS");
    if (!name || inside) return 0;
    inside = 1;
    FILE *file = fopen(name, "r");
    if (file) {
        if (!fgets(text, sizeof text, file)) text[0] = 0;
        fclose(file);
    }
    inside = 0;
    return strcmp(text, word) == 0;
}

static int below(int fd) {
    char link[64], path[4096];
    const char *folder = getenv("FAULTS_BELOW");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    return folder && length > 0 && strncmp(path, folder, strlen(folder)) == 0;
}

static int fails(int fd, int writes) {
    if (!below(fd)) return 0;
    if (writes && says("full")) return errno = ENOSPC, 1;
    if (says("eio")) return errno = EIO, 1;
    return 0;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    return fails(fd, 1) ? -1 : real(fd, bytes, length);
}

ssize_t pread64(int fd, void *bytes, size_t length, off64_t at) {
    static ssize_t (*real)(int, void *, size_t, off64_t);
    if (!real) real = dlsym(RTLD_NEXT, "pread64");
    return fails(fd, 0) ? -1 : real(fd, bytes, length, at);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fdatasync");
    while (below(fd) && says("stuck")) usleep(20000);
    return fails(fd, 1) ? -1 : real(fd);
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fsync");
    return fails(fd, 1) ? -1 : real(fd);
}
