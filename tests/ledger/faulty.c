/* The disk of a test: at the Nth write or flush from now on it fails, or the process is killed. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static long left = -1, times = 0;
static int code = 0;

/* `n` calls from now on `count` calls fail with `error`; with error 0 the process is killed instead. */
void strike(long n, int error, long count)
{
    left = n;
    code = error;
    times = count;
}

long calls_left(void)
{
    return left;
}

static int struck(void)
{
    if (left < 0)
        return 0;
    if (left > 0) {
        left--;
        return 0;
    }
    if (code == 0)
        kill(getpid(), SIGKILL);
    if (times-- <= 0) {
        left = -1;
        return 0;
    }
    errno = code;
    return 1;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    return struck() ? -1 : syscall(SYS_pwrite64, fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    return pwrite64(fd, data, size, at);
}

int fsync(int fd)
{
    return struck() ? -1 : syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return struck() ? -1 : syscall(SYS_fdatasync, fd);
}

int ftruncate64(int fd, off64_t size)
{
    return struck() ? -1 : syscall(SYS_ftruncate, fd, size);
}
