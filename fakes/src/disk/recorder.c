/* Preloaded into a program: notes in one total order what the program does to one folder, what it
 * sends over sockets, and what it says on standard error. It changes nothing of what is done. What it
 * cannot note it notes as odd, so that no recording is taken for whole that is not.
 *
 * RECORD_FOLDER names the folder, by its real path; RECORD_LOG the file that is appended to, which
 * must lie outside of it. Without both it does nothing. The frames are read by log.rs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum kind { OPENED = 1, WRITTEN, CUT, SYNCED, RENAMED, UNLINKED, FOLDER_MADE, FOLDER_REMOVED, SOCKET_MADE, SENT, SAID, ODD };

struct frame {
    uint32_t kind, path_bytes, to_bytes, data_bytes;
    uint64_t inode, number;
};

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static char folder[PATH_MAX];
static size_t folder_bytes;
static int log_fd = -1;

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static ssize_t real_write(int fd, const void *bytes, size_t count) {
    REAL(write);
    return real(fd, bytes, count);
}

static int real_open(const char *path, int flags, mode_t mode) {
    REAL(open);
    return real(path, flags, mode);
}

__attribute__((constructor)) static void begin(void) {
    const char *root = getenv("RECORD_FOLDER"), *log = getenv("RECORD_LOG");
    if (!root || !log) return;
    if (strlen(root) >= sizeof folder) abort();
    strcpy(folder, root);
    folder_bytes = strlen(folder);
    int fd = real_open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) abort();
    /* Out of the way: programs expect low numbers for their own. */
    log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 200);
    if (log_fd < 0) abort();
    close(fd);
}

static void note(struct frame head, const char *path, const char *to, const void *data, size_t bytes) {
    int before = errno;
    head.path_bytes = path ? strlen(path) : 0;
    head.to_bytes = to ? strlen(to) : 0;
    head.data_bytes = bytes;
    size_t size = sizeof head + head.path_bytes + head.to_bytes + bytes, at = 0;
    char *whole = malloc(size);
    if (!whole) abort();
    memcpy(whole, &head, sizeof head);
    at = sizeof head;
    if (path) memcpy(whole + at, path, head.path_bytes);
    at += head.path_bytes;
    if (to) memcpy(whole + at, to, head.to_bytes);
    at += head.to_bytes;
    if (bytes) memcpy(whole + at, data, bytes);
    if (real_write(log_fd, whole, size) != (ssize_t)size) abort();
    free(whole);
    errno = before;
}

/* Returns the path below the folder, "" for the folder itself, NULL for any other. */
static const char *below(const char *path) {
    if (strncmp(path, folder, folder_bytes)) return NULL;
    if (!path[folder_bytes]) return path + folder_bytes;
    return path[folder_bytes] == '/' ? path + folder_bytes + 1 : NULL;
}

/* Finds the path below the folder that an open file has. */
static const char *path_of(int fd, char *space) {
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t bytes = readlink(link, space, PATH_MAX - 1);
    if (bytes < 0) return NULL;
    space[bytes] = 0;
    return below(space);
}

/* Finds the path below the folder that a name stands for; the name's own file need not be there. */
static const char *place_of(int at, const char *name, char *space) {
    char whole[PATH_MAX * 2], parent[PATH_MAX];
    if (name[0] == '/') {
        snprintf(whole, sizeof whole, "%s", name);
    } else if (at == AT_FDCWD) {
        if (!getcwd(parent, sizeof parent)) return NULL;
        snprintf(whole, sizeof whole, "%s/%s", parent, name);
    } else {
        char link[32];
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t bytes = readlink(link, parent, sizeof parent - 1);
        if (bytes < 0) return NULL;
        parent[bytes] = 0;
        snprintf(whole, sizeof whole, "%s/%s", parent, name);
    }
    char *slash = strrchr(whole, '/');
    if (!slash) return NULL;
    *slash = 0;
    if (!realpath(*whole ? whole : "/", parent)) return NULL;
    if (snprintf(space, PATH_MAX, "%s/%s", parent, slash + 1) >= PATH_MAX) return NULL;
    return below(space);
}

/* Tells whether an open file is one of the folder's, and its inode. */
static int is_ours(int fd, uint64_t *inode, char *space, const char **path) {
    struct stat seen;
    int before = errno, ours = 0;
    if (log_fd >= 0 && fd != log_fd && !fstat(fd, &seen) && (S_ISREG(seen.st_mode) || S_ISDIR(seen.st_mode))) {
        *path = path_of(fd, space);
        *inode = seen.st_ino;
        ours = *path != NULL;
    }
    errno = before;
    return ours;
}

/* Returns the port of the other end where the file is a socket of the network, else 0. */
static uint64_t peer_of(int fd) {
    struct sockaddr_storage peer;
    socklen_t bytes = sizeof peer;
    int before = errno;
    uint64_t port = 0;
    if (log_fd >= 0 && !getpeername(fd, (struct sockaddr *)&peer, &bytes)) {
        if (peer.ss_family == AF_INET) port = ntohs(((struct sockaddr_in *)&peer)->sin_port);
        if (peer.ss_family == AF_INET6) port = ntohs(((struct sockaddr_in6 *)&peer)->sin6_port);
    }
    errno = before;
    return port;
}

static void odd(const char *call) {
    pthread_mutex_lock(&order);
    note((struct frame){.kind = ODD}, call, NULL, NULL, 0);
    pthread_mutex_unlock(&order);
}

/* An opened file is noted with its flags, before anything can be done to it. */
static int opened(int fd, int flags) {
    char space[PATH_MAX];
    const char *path;
    uint64_t inode;
    if (fd >= 0 && is_ours(fd, &inode, space, &path))
        note((struct frame){.kind = OPENED, .inode = inode, .number = (uint64_t)(flags & O_TRUNC)}, path, NULL, NULL, 0);
    return fd;
}

#define MODE_OF(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { \
        va_list more; \
        va_start(more, flags); \
        mode = va_arg(more, mode_t); \
        va_end(more); \
    }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        MODE_OF(flags) \
        REAL(name); \
        if (log_fd < 0) return real(path, flags, mode); \
        pthread_mutex_lock(&order); \
        int fd = opened(real(path, flags, mode), flags); \
        pthread_mutex_unlock(&order); \
        return fd; \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int at, const char *path, int flags, ...) { \
        MODE_OF(flags) \
        REAL(name); \
        if (log_fd < 0) return real(at, path, flags, mode); \
        pthread_mutex_lock(&order); \
        int fd = opened(real(at, path, flags, mode), flags); \
        pthread_mutex_unlock(&order); \
        return fd; \
    }
OPENAT(openat)
OPENAT(openat64)

/* Notes bytes that were written; `end` is where the file's own position stands after them, or -1. */
static void written(int fd, uint64_t inode, const char *path, const struct iovec *parts, ssize_t done, off_t offset) {
    if (done <= 0) return;
    if (offset < 0) offset = lseek(fd, 0, SEEK_CUR) - done;
    char *whole = malloc(done);
    if (!whole) abort();
    for (size_t at = 0; at < (size_t)done; parts++) {
        size_t rest = (size_t)done - at, bytes = parts->iov_len < rest ? parts->iov_len : rest;
        memcpy(whole + at, parts->iov_base, bytes);
        at += bytes;
    }
    note((struct frame){.kind = WRITTEN, .inode = inode, .number = (uint64_t)offset}, path, NULL, whole, done);
    free(whole);
}

/* What a peer may have heard is noted before it is sent. */
#define SENDING(fd, bytes, count) \
    uint64_t peer = peer_of(fd); \
    if (peer) { \
        pthread_mutex_lock(&order); \
        note((struct frame){.kind = SENT, .number = peer}, NULL, NULL, bytes, count); \
        pthread_mutex_unlock(&order); \
    }

ssize_t write(int fd, const void *bytes, size_t count) {
    char space[PATH_MAX];
    const char *path;
    uint64_t inode;
    if (log_fd >= 0 && fd == STDERR_FILENO) {
        pthread_mutex_lock(&order);
        note((struct frame){.kind = SAID}, NULL, NULL, bytes, count);
        pthread_mutex_unlock(&order);
        return real_write(fd, bytes, count);
    }
    if (!is_ours(fd, &inode, space, &path)) {
        SENDING(fd, bytes, count)
        return real_write(fd, bytes, count);
    }
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = count};
    pthread_mutex_lock(&order);
    ssize_t done = real_write(fd, bytes, count);
    written(fd, inode, path, &part, done, -1);
    pthread_mutex_unlock(&order);
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    char space[PATH_MAX];
    const char *path;
    uint64_t inode;
    REAL(writev);
    if (!is_ours(fd, &inode, space, &path)) {
        for (int at = 0; at < count; at++) {
            SENDING(fd, parts[at].iov_base, parts[at].iov_len)
        }
        return real(fd, parts, count);
    }
    pthread_mutex_lock(&order);
    ssize_t done = real(fd, parts, count);
    written(fd, inode, path, parts, done, -1);
    pthread_mutex_unlock(&order);
    return done;
}

#define PWRITE(name, place) \
    ssize_t name(int fd, const void *bytes, size_t count, place offset) { \
        char space[PATH_MAX]; \
        const char *path; \
        uint64_t inode; \
        REAL(name); \
        if (!is_ours(fd, &inode, space, &path)) return real(fd, bytes, count, offset); \
        struct iovec part = {.iov_base = (void *)bytes, .iov_len = count}; \
        pthread_mutex_lock(&order); \
        ssize_t done = real(fd, bytes, count, offset); \
        written(fd, inode, path, &part, done, offset); \
        pthread_mutex_unlock(&order); \
        return done; \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t send(int fd, const void *bytes, size_t count, int flags) {
    REAL(send);
    SENDING(fd, bytes, count)
    return real(fd, bytes, count, flags);
}

ssize_t sendto(int fd, const void *bytes, size_t count, int flags, const struct sockaddr *to, socklen_t to_bytes) {
    REAL(sendto);
    SENDING(fd, bytes, count)
    return real(fd, bytes, count, flags, to, to_bytes);
}

/* Calls on an open file that are noted once they have succeeded. */
#define ON_FILE(name, what, parameters, arguments, figure) \
    int name parameters { \
        char space[PATH_MAX]; \
        const char *path; \
        uint64_t inode; \
        REAL(name); \
        if (!is_ours(fd, &inode, space, &path)) return real arguments; \
        pthread_mutex_lock(&order); \
        int done = real arguments; \
        if (!done) note((struct frame){.kind = what, .inode = inode, .number = figure}, path, NULL, NULL, 0); \
        pthread_mutex_unlock(&order); \
        return done; \
    }
ON_FILE(fsync, SYNCED, (int fd), (fd), 0)
ON_FILE(fdatasync, SYNCED, (int fd), (fd), 0)
ON_FILE(ftruncate, CUT, (int fd, off_t length), (fd, length), (uint64_t)length)
ON_FILE(ftruncate64, CUT, (int fd, off64_t length), (fd, length), (uint64_t)length)

/* Calls on one name. */
#define ON_NAME(name, what, parameters, arguments, at, path) \
    int name parameters { \
        char space[PATH_MAX]; \
        REAL(name); \
        if (log_fd < 0) return real arguments; \
        const char *place = place_of(at, path, space); \
        if (!place) return real arguments; \
        pthread_mutex_lock(&order); \
        int done = real arguments; \
        if (!done) note((struct frame){.kind = what}, place, NULL, NULL, 0); \
        pthread_mutex_unlock(&order); \
        return done; \
    }
ON_NAME(unlink, UNLINKED, (const char *path), (path), AT_FDCWD, path)
ON_NAME(unlinkat, (flags & AT_REMOVEDIR) ? FOLDER_REMOVED : UNLINKED, (int at, const char *path, int flags), (at, path, flags), at, path)
ON_NAME(rmdir, FOLDER_REMOVED, (const char *path), (path), AT_FDCWD, path)
ON_NAME(mkdir, FOLDER_MADE, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
ON_NAME(mkdirat, FOLDER_MADE, (int at, const char *path, mode_t mode), (at, path, mode), at, path)

/* Renames: one that crosses the folder's edge is odd. */
static int renaming(int from_at, const char *from, int to_at, const char *to, int (*act)(int, const char *, int, const char *, unsigned), unsigned flags) {
    char from_space[PATH_MAX], to_space[PATH_MAX];
    const char *old = place_of(from_at, from, from_space), *new = place_of(to_at, to, to_space);
    if (!old && !new) return act(from_at, from, to_at, to, flags);
    pthread_mutex_lock(&order);
    int done = act(from_at, from, to_at, to, flags);
    if (!done && old && new && !(flags & RENAME_EXCHANGE)) note((struct frame){.kind = RENAMED}, old, new, NULL, 0);
    else if (!done) note((struct frame){.kind = ODD}, "rename across the folder's edge", NULL, NULL, 0);
    pthread_mutex_unlock(&order);
    return done;
}

static int real_renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    REAL(renameat2);
    return real(from_at, from, to_at, to, flags);
}

static int real_rename(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    REAL(rename);
    (void)from_at, (void)to_at, (void)flags;
    return real(from, to);
}

int rename(const char *from, const char *to) {
    if (log_fd < 0) return real_rename(AT_FDCWD, from, AT_FDCWD, to, 0);
    return renaming(AT_FDCWD, from, AT_FDCWD, to, real_rename, 0);
}

int renameat(int from_at, const char *from, int to_at, const char *to) {
    if (log_fd < 0) return real_renameat2(from_at, from, to_at, to, 0);
    return renaming(from_at, from, to_at, to, real_renameat2, 0);
}

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    if (log_fd < 0) return real_renameat2(from_at, from, to_at, to, flags);
    return renaming(from_at, from, to_at, to, real_renameat2, flags);
}

int bind(int fd, const struct sockaddr *address, socklen_t bytes) {
    char space[PATH_MAX];
    REAL(bind);
    const char *name = address->sa_family == AF_UNIX ? ((const struct sockaddr_un *)address)->sun_path : "";
    const char *place = log_fd >= 0 && *name ? place_of(AT_FDCWD, name, space) : NULL;
    if (!place) return real(fd, address, bytes);
    pthread_mutex_lock(&order);
    int done = real(fd, address, bytes);
    if (!done) note((struct frame){.kind = SOCKET_MADE}, place, NULL, NULL, 0);
    pthread_mutex_unlock(&order);
    return done;
}

/* What is not modelled, and must not pass unseen. SQLite maps its index of the log, which is made anew
 * after a power cut. */
static int is_index(const char *path) {
    size_t bytes = strlen(path);
    return bytes > 4 && !strcmp(path + bytes - 4, "-shm");
}

#define MMAP(name, place) \
    void *name(void *address, size_t length, int protection, int flags, int fd, place offset) { \
        char space[PATH_MAX]; \
        const char *path; \
        uint64_t inode; \
        REAL(name); \
        if (log_fd >= 0 && fd >= 0 && (flags & MAP_SHARED) && (protection & PROT_WRITE) \
            && is_ours(fd, &inode, space, &path) && !is_index(path)) \
            odd("a file mapped for writing"); \
        return real(address, length, protection, flags, fd, offset); \
    }
MMAP(mmap, off_t)
MMAP(mmap64, off64_t)

#define ODD_ON_FILE(type, name, parameters, arguments) \
    type name parameters { \
        char space[PATH_MAX]; \
        const char *path; \
        uint64_t inode; \
        REAL(name); \
        if (is_ours(fd, &inode, space, &path)) odd(#name); \
        return real arguments; \
    }
ODD_ON_FILE(int, fallocate, (int fd, int mode, off_t offset, off_t length), (fd, mode, offset, length))
ODD_ON_FILE(int, fallocate64, (int fd, int mode, off64_t offset, off64_t length), (fd, mode, offset, length))
ODD_ON_FILE(int, posix_fallocate, (int fd, off_t offset, off_t length), (fd, offset, length))
ODD_ON_FILE(int, posix_fallocate64, (int fd, off64_t offset, off64_t length), (fd, offset, length))
ODD_ON_FILE(ssize_t, pwritev, (int fd, const struct iovec *parts, int count, off_t offset), (fd, parts, count, offset))
ODD_ON_FILE(ssize_t, pwritev64, (int fd, const struct iovec *parts, int count, off64_t offset), (fd, parts, count, offset))
ODD_ON_FILE(ssize_t, sendfile64, (int fd, int from, off64_t *offset, size_t count), (fd, from, offset, count))

#define ODD_ON_NAME(name, parameters, arguments, path) \
    int name parameters { \
        char space[PATH_MAX]; \
        REAL(name); \
        if (log_fd >= 0 && place_of(AT_FDCWD, path, space)) odd(#name); \
        return real arguments; \
    }
ODD_ON_NAME(truncate, (const char *path, off_t length), (path, length), path)
ODD_ON_NAME(truncate64, (const char *path, off64_t length), (path, length), path)
ODD_ON_NAME(creat, (const char *path, mode_t mode), (path, mode), path)
ODD_ON_NAME(link, (const char *from, const char *path), (from, path), path)
ODD_ON_NAME(symlink, (const char *from, const char *path), (from, path), path)

ssize_t copy_file_range(int from, off64_t *from_offset, int fd, off64_t *offset, size_t count, unsigned flags) {
    char space[PATH_MAX];
    const char *path;
    uint64_t inode;
    REAL(copy_file_range);
    if (is_ours(fd, &inode, space, &path)) odd("copy_file_range");
    return real(from, from_offset, fd, offset, count, flags);
}

/* Streams write from within the library, past all of the above. */
#define FOPEN(name) \
    FILE *name(const char *path, const char *mode) { \
        char space[PATH_MAX]; \
        REAL(name); \
        if (log_fd >= 0 && strpbrk(mode, "wa+") && place_of(AT_FDCWD, path, space)) odd(#name); \
        return real(path, mode); \
    }
FOPEN(fopen)
FOPEN(fopen64)
