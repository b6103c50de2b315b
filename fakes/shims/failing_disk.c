/* A disk that fails when it is told to: loaded before libc (LD_PRELOAD), it lets the n-th writing or reading call on
 * the files of one folder fail, and then some more of them. Nothing else is touched.
 *
 *   DISK_FOLDER   the folder; calls on files below it are counted
 *   DISK_CALLS    "read": reading calls are counted and fail; else writing ones
 *   DISK_FAIL_AT  the first call that fails, counted from 1; 0: none
 *   DISK_FAIL_FOR how many calls fail from there on; 0: all, until the file DISK_ROOM is there
 *   DISK_ROOM     the file that ends a failure without number
 *   DISK_ERROR    5 (EIO) or 28 (ENOSPC); a write that finds no space has written its first half
 *   DISK_COUNTER  a file of 16 bytes: how many calls there were, and how many of them failed
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

static _Atomic long fallback[2];
static _Atomic long *counter = fallback;
static const char *folder, *room;
static long fail_at, fail_for, error_number;
static int of_reads;

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? strtol(text, NULL, 10) : 0;
}

__attribute__((constructor)) static void begin(void) {
    folder = getenv("DISK_FOLDER");
    room = getenv("DISK_ROOM");
    const char *calls = getenv("DISK_CALLS");
    of_reads = calls && strcmp(calls, "read") == 0;
    fail_at = number("DISK_FAIL_AT");
    fail_for = number("DISK_FAIL_FOR");
    error_number = number("DISK_ERROR");
    const char *path = getenv("DISK_COUNTER");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *shared = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (shared != MAP_FAILED) counter = shared;
}

/* Tells whether a descriptor is of a file in the folder. Standard error is the log, and no part of it. */
static int is_ours(int fd) {
    char link[40], path[PATH_MAX];
    if (!folder || fd <= 2) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    size_t wanted = strlen(folder);
    return strncmp(path, folder, wanted) == 0 && path[wanted] == '/';
}

/* Counts a call of the kind that is looked at; tells whether it fails. */
static int call_fails(int fd, int is_read) {
    int before = errno;
    if (is_read != of_reads || !is_ours(fd)) {
        errno = before;
        return 0;
    }
    long call = atomic_fetch_add(&counter[0], 1) + 1;
    int failing = fail_at > 0 && call >= fail_at;
    if (failing) failing = fail_for > 0 ? call < fail_at + fail_for : access(room, F_OK) != 0;
    if (failing) atomic_fetch_add(&counter[1], 1);
    errno = failing ? (int)error_number : before;
    return failing;
}

static int fails(int fd) { return call_fails(fd, 0); }

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *bytes, size_t count) {
    if (!fails(fd)) return REAL(write)(fd, bytes, count);
    if (error_number == ENOSPC && count > 1) REAL(write)(fd, bytes, count / 2);
    errno = (int)error_number;
    return -1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    if (!fails(fd)) return REAL(pwrite64)(fd, bytes, count, offset);
    if (error_number == ENOSPC && count > 1) REAL(pwrite64)(fd, bytes, count / 2, offset);
    errno = (int)error_number;
    return -1;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    return pwrite64(fd, bytes, count, offset);
}

int fsync(int fd) { return fails(fd) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return fails(fd) ? -1 : REAL(fdatasync)(fd); }
int ftruncate64(int fd, off64_t length) { return fails(fd) ? -1 : REAL(ftruncate64)(fd, length); }
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }
int posix_fallocate64(int fd, off64_t from, off64_t length) {
    return fails(fd) ? (int)error_number : REAL(posix_fallocate64)(fd, from, length);
}
int posix_fallocate(int fd, off_t from, off_t length) { return posix_fallocate64(fd, from, length); }

ssize_t read(int fd, void *bytes, size_t count) {
    return call_fails(fd, 1) ? -1 : REAL(read)(fd, bytes, count);
}

ssize_t pread64(int fd, void *bytes, size_t count, off64_t offset) {
    return call_fails(fd, 1) ? -1 : REAL(pread64)(fd, bytes, count, offset);
}

ssize_t pread(int fd, void *bytes, size_t count, off_t offset) { return pread64(fd, bytes, count, offset); }
