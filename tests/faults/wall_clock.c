/* The wall clock of one process, set forth or back: LD_PRELOAD this; it adds the seconds in the file CLOCK_OFFSET.
   Deadlines use the monotonic clock, which is left alone, as it is when an administrator or NTP steps the time. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long offset(void) {
    static __thread unsigned calls;
    static __thread long seconds;
    /* Now and then is enough, and opening a file for each question is not what is measured. */
    if (calls++ % 16 == 0) {
        const char *path = getenv("CLOCK_OFFSET");
        FILE *file = path ? fopen(path, "r") : NULL;
        if (file) {
            if (fscanf(file, "%ld", &seconds) != 1) seconds = 0;
            fclose(file);
        }
    }
    return seconds;
}

int clock_gettime(clockid_t id, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, id, now);
    if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += offset();
    return result;
}
