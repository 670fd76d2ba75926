/*
 * A disk that takes longer: each fsync and fdatasync waits SLOWSYNC_US microseconds first.
 *
 *     cc -shared -fPIC -o slowsync.so slowsync.c -ldl
 *     LD_PRELOAD=./slowsync.so SLOWSYNC_US=5000 program
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

static void wait_first(void)
{
    const char *given = getenv("SLOWSYNC_US");
    long us = given ? atol(given) : 0;
    struct timespec pause = {us / 1000000, us % 1000000 * 1000};

    nanosleep(&pause, NULL);
}

static int real(const char *name, int fd)
{
    int (*call)(int) = (int (*)(int)) dlsym(RTLD_NEXT, name);

    wait_first();
    return call(fd);
}

int fsync(int fd)
{
    return real("fsync", fd);
}

int fdatasync(int fd)
{
    return real("fdatasync", fd);
}
