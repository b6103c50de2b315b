/* A network that fails on command, preloaded into one process: while the folder of $NETWORK_FAULTS
 * holds a file `no-buffers`, the kernel takes nothing from its sockets (ENOBUFS); while it holds
 * `no-names`, no name is found. It never changes what is carried. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int is_on(const char *fault) {
    const char *folder = getenv("NETWORK_FAULTS");
    char path[4096];
    int kept = errno, on = 0;
    if (folder && snprintf(path, sizeof path, "%s/%s", folder, fault) < (int)sizeof path)
        on = access(path, F_OK) == 0;
    errno = kept;
    return on;
}

static int is_network(int fd) {
    struct sockaddr_storage own;
    socklen_t length = sizeof own;
    int kept = errno, found = getsockname(fd, (struct sockaddr *)&own, &length) == 0;
    errno = kept;
    return found && (own.ss_family == AF_INET || own.ss_family == AF_INET6);
}

#define REAL(name) (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define REFUSE(fd)                                     \
    if (is_network(fd) && is_on("no-buffers")) {       \
        errno = ENOBUFS;                               \
        return -1;                                     \
    }

ssize_t write(int fd, const void *bytes, size_t count) {
    static __typeof__(&write) real;
    if (!real) real = REAL(write);
    REFUSE(fd)
    return real(fd, bytes, count);
}

ssize_t send(int fd, const void *bytes, size_t count, int flags) {
    static __typeof__(&send) real;
    if (!real) real = REAL(send);
    REFUSE(fd)
    return real(fd, bytes, count, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    static __typeof__(&sendmsg) real;
    if (!real) real = REAL(sendmsg);
    REFUSE(fd)
    return real(fd, message, flags);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
    static __typeof__(&getaddrinfo) real;
    if (!real) real = REAL(getaddrinfo);
    if (is_on("no-names")) return EAI_AGAIN;
    return real(name, service, hints, found);
}
