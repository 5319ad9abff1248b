/* Faults at every write to a folder, or at every exchange with a server; for LD_PRELOAD.
 *
 * Each call that changes something below the folder that was armed, or that sends to a server or gets the first bytes of
 * its answer, is a step. From the chosen step on the disk is full, read-only or forbidden, or the network is gone; or
 * only at that step it fails, or the process dies there: a write in its middle, everything else before it begins.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, KILL, FULL, READONLY, DENIED, ONCE, LOST };
/* What a call does: takes space in a file or in a folder, flushes, renames, removes, changes facts about a file. */
enum { WRITE, MAKE, SYNC, MOVE, REMOVE, FACTS };
#define DIE (-1)
#define MOST_FILES 4096

static char root[PATH_MAX];
static size_t root_length;
static int mode, network, trace = -1;
static long target;
static atomic_long steps;
static atomic_char waiting[MOST_FILES]; /* sockets on which something was sent and no answer came yet */

/* network: count exchanges instead of writes below `folder`. file: gets a line "step call path" for every step. */
void faults_arm(const char *folder, int over_network, int kind, long step, const char *file)
{
    root_length = strlen(folder);
    memcpy(root, folder, root_length + 1);
    network = over_network;
    mode = kind;
    target = step;
    trace = (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
}

#define REAL(name) ((__typeof__(&name))real(#name, (void *_Atomic *)&real_##name))
#define KEEP(name) static void *_Atomic real_##name

static void *real(const char *name, void *_Atomic *kept)
{
    if (*kept == NULL)
        *kept = dlsym(RTLD_NEXT, name);
    return *kept;
}

static int armed(int over_network)
{
    return root_length != 0 && network == over_network;
}

/* Absolute name of a path relative to an open folder; false where it is not below the root. */
static int below(int folder, const char *path, char *name)
{
    char link[64];
    ssize_t length = 0;
    if (!armed(0) || path == NULL)
        return 0;
    if (path[0] != '/') {
        if (folder == AT_FDCWD) {
            if (getcwd(name, PATH_MAX) == NULL)
                return 0;
            length = (ssize_t)strlen(name);
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
            length = readlink(link, name, PATH_MAX - 1);
            if (length < 0)
                return 0;
        }
        if (path[0] != 0)
            name[length++] = '/';
    }
    if ((size_t)length + strlen(path) >= PATH_MAX)
        return 0;
    strcpy(name + length, path);
    return strncmp(name, root, root_length) == 0 && (name[root_length] == '/' || name[root_length] == 0);
}

static int below_file(int file, char *name)
{
    return below(file, "", name);
}

/* Counts a step: 0 to go on, an errno to fail with, or DIE. */
static int step(const char *call, const char *name, int kind)
{
    long now = atomic_fetch_add(&steps, 1) + 1;
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%ld %s %s\n", now, call, name);
    if (trace >= 0)
        syscall(SYS_write, trace, line, (size_t)length);
    if (mode == COUNT || now < target)
        return 0;
    switch (mode) {
    case KILL:
        return now == target ? DIE : 0;
    case ONCE:
        return now == target ? (network ? ECONNRESET : EIO) : 0;
    case LOST:
        return ECONNRESET;
    case FULL:
        if (kind == WRITE || kind == MAKE)
            return ENOSPC;
        return now == target && (kind == SYNC || kind == MOVE) ? ENOSPC : 0;
    case READONLY:
        return kind == SYNC && now != target ? 0 : EROFS;
    case DENIED: /* what is open stays writable */
        return kind == WRITE || kind == SYNC ? 0 : EACCES;
    }
    return 0;
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Whether a call fails; sets errno. */
static int fails(const char *call, const char *name, int kind)
{
    int code = step(call, name, kind);
    if (code == DIE)
        die();
    if (code > 0)
        errno = code;
    return code != 0;
}

/* How many of `size` bytes a write may write: all, half of them (then the caller dies or the rest fails), or -1. */
static ssize_t allowed(const char *name, size_t size, int *dies)
{
    int code = step("write", name, WRITE);
    *dies = code == DIE;
    if (code == 0)
        return (ssize_t)size;
    if (code == DIE || (code == ENOSPC && size > 1 && atomic_load(&steps) == target))
        return (ssize_t)(size / 2);
    errno = code;
    return -1;
}

/* Files -----------------------------------------------------------------------------------------------------------*/

static int opens(int folder, const char *path, int flags)
{
    char name[PATH_MAX];
    if ((flags & O_ACCMODE) == O_RDONLY && !(flags & (O_CREAT | O_TRUNC)))
        return 1;
    if (!below(folder, path, name))
        return 1;
    return !fails("open", name, (flags & O_CREAT) && access(name, F_OK) != 0 ? MAKE : FACTS);
}

#define OPEN(function, parameters, folder, ...)                                                                        \
    KEEP(function);                                                                                                    \
    int function parameters                                                                                            \
    {                                                                                                                  \
        mode_t mode_ = 0;                                                                                              \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                                           \
            va_list rest;                                                                                              \
            va_start(rest, flags);                                                                                     \
            mode_ = va_arg(rest, mode_t);                                                                              \
            va_end(rest);                                                                                              \
        }                                                                                                              \
        if (!opens(folder, path, flags))                                                                               \
            return -1;                                                                                                 \
        return REAL(function)(__VA_ARGS__, mode_);                                                                     \
    }
OPEN(open, (const char *path, int flags, ...), AT_FDCWD, path, flags)
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD, path, flags)
OPEN(openat, (int folder, const char *path, int flags, ...), folder, folder, path, flags)
OPEN(openat64, (int folder, const char *path, int flags, ...), folder, folder, path, flags)

#define FOPEN(function)                                                                                                \
    KEEP(function);                                                                                                    \
    FILE *function(const char *path, const char *how)                                                                  \
    {                                                                                                                  \
        int flags = how[0] == 'r' && strchr(how, '+') == NULL ? O_RDONLY : O_WRONLY | O_CREAT;                         \
        return opens(AT_FDCWD, path, flags) ? REAL(function)(path, how) : NULL;                                        \
    }
FOPEN(fopen)
FOPEN(fopen64)

/* A call with a path (relative to a folder, or not) or an open file. */
#define PATH_CALL(function, kind, parameters, folder, ...)                                                             \
    KEEP(function);                                                                                                    \
    int function parameters                                                                                            \
    {                                                                                                                  \
        char name[PATH_MAX];                                                                                           \
        if (below(folder, path, name) && fails(#function, name, kind))                                                 \
            return -1;                                                                                                 \
        return REAL(function)(__VA_ARGS__);                                                                            \
    }
#define FILE_CALL(function, kind, parameters, ...)                                                                     \
    KEEP(function);                                                                                                    \
    int function parameters                                                                                            \
    {                                                                                                                  \
        char name[PATH_MAX];                                                                                           \
        if (below_file(file, name) && fails(#function, name, kind))                                                    \
            return -1;                                                                                                 \
        return REAL(function)(__VA_ARGS__);                                                                            \
    }
PATH_CALL(mkdir, MAKE, (const char *path, mode_t bits), AT_FDCWD, path, bits)
PATH_CALL(mkdirat, MAKE, (int folder, const char *path, mode_t bits), folder, folder, path, bits)
PATH_CALL(rmdir, REMOVE, (const char *path), AT_FDCWD, path)
PATH_CALL(unlink, REMOVE, (const char *path), AT_FDCWD, path)
PATH_CALL(unlinkat, REMOVE, (int folder, const char *path, int flags), folder, folder, path, flags)
PATH_CALL(truncate, REMOVE, (const char *path, off_t size), AT_FDCWD, path, size)
PATH_CALL(truncate64, REMOVE, (const char *path, off64_t size), AT_FDCWD, path, size)
PATH_CALL(chmod, FACTS, (const char *path, mode_t bits), AT_FDCWD, path, bits)
PATH_CALL(fchmodat, FACTS, (int folder, const char *path, mode_t bits, int flags), folder, folder, path, bits, flags)
PATH_CALL(utimensat, FACTS, (int folder, const char *path, const struct timespec times[2], int flags), folder, folder,
          path, times, flags)
FILE_CALL(ftruncate, REMOVE, (int file, off_t size), file, size)
FILE_CALL(ftruncate64, REMOVE, (int file, off64_t size), file, size)
FILE_CALL(fsync, SYNC, (int file), file)
FILE_CALL(fdatasync, SYNC, (int file), file)
FILE_CALL(fchmod, FACTS, (int file, mode_t bits), file, bits)

#define MOVE_CALL(function, parameters, from, path, to, target_, ...)                                                  \
    KEEP(function);                                                                                                    \
    int function parameters                                                                                            \
    {                                                                                                                  \
        char name[PATH_MAX];                                                                                           \
        if ((below(to, target_, name) || below(from, path, name)) && fails(#function, name, MOVE))                     \
            return -1;                                                                                                 \
        return REAL(function)(__VA_ARGS__);                                                                            \
    }
MOVE_CALL(rename, (const char *path, const char *other), AT_FDCWD, path, AT_FDCWD, other, path, other)
MOVE_CALL(renameat, (int from, const char *path, int to, const char *other), from, path, to, other, from, path, to,
          other)
MOVE_CALL(renameat2, (int from, const char *path, int to, const char *other, unsigned int flags), from, path, to, other,
          from, path, to, other, flags)
MOVE_CALL(link, (const char *path, const char *other), AT_FDCWD, path, AT_FDCWD, other, path, other)
MOVE_CALL(linkat, (int from, const char *path, int to, const char *other, int flags), from, path, to, other, from, path,
          to, other, flags)
MOVE_CALL(symlink, (const char *path, const char *other), AT_FDCWD, path, AT_FDCWD, other, path, other)

#define WRITE_CALL(function, parameters, ...)                                                                          \
    KEEP(function);                                                                                                    \
    ssize_t function parameters                                                                                        \
    {                                                                                                                  \
        char name[PATH_MAX];                                                                                           \
        if (below_file(file, name)) {                                                                                  \
            int dies;                                                                                                  \
            ssize_t may = allowed(name, size, &dies);                                                                  \
            if (may < 0)                                                                                               \
                return -1;                                                                                             \
            size = (size_t)may;                                                                                        \
            if (dies) {                                                                                                \
                REAL(function)(__VA_ARGS__);                                                                           \
                die();                                                                                                 \
            }                                                                                                          \
        }                                                                                                              \
        return REAL(function)(__VA_ARGS__);                                                                            \
    }
WRITE_CALL(pwrite, (int file, const void *data, size_t size, off_t at), file, data, size, at)
WRITE_CALL(pwrite64, (int file, const void *data, size_t size, off64_t at), file, data, size, at)
WRITE_CALL(sendfile, (int file, int from, off_t *at, size_t size), file, from, at, size)
WRITE_CALL(sendfile64, (int file, int from, off64_t *at, size_t size), file, from, at, size)
WRITE_CALL(copy_file_range, (int from, off64_t *at, int file, off64_t *to, size_t size, unsigned int flags), from, at,
           file, to, size, flags)

/* numpy writes arrays with it; what follows inside of the C library is not seen. */
KEEP(fwrite);
size_t fwrite(const void *data, size_t size, size_t count, FILE *stream)
{
    char name[PATH_MAX];
    if (armed(0) && below_file(fileno(stream), name)) {
        int dies;
        ssize_t may = allowed(name, count, &dies);
        if (may < 0)
            return 0;
        if ((size_t)may < count) {
            size_t written = REAL(fwrite)(data, size, (size_t)may, stream);
            fflush(stream);
            if (dies)
                die();
            errno = ENOSPC;
            return written;
        }
    }
    return REAL(fwrite)(data, size, count, stream);
}

/* The network -----------------------------------------------------------------------------------------------------*/

static int to_server(int file)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    if (!armed(1) || file < 0 || file >= MOST_FILES)
        return 0;
    return getsockname(file, (struct sockaddr *)&address, &length) == 0 &&
           (address.ss_family == AF_INET || address.ss_family == AF_INET6);
}

static int sends(const char *call, int file)
{
    if (!to_server(file))
        return 1;
    waiting[file] = 1;
    return !fails(call, "", WRITE);
}

/* The first bytes of an answer are a step; without a network nothing comes. */
static ssize_t came(const char *call, int file, ssize_t size)
{
    if (size <= 0 || !to_server(file))
        return size;
    if (waiting[file]) {
        waiting[file] = 0;
        if (fails(call, "", WRITE))
            return -1;
    } else if (mode == LOST && atomic_load(&steps) >= target) {
        errno = ECONNRESET;
        return -1;
    }
    return size;
}

KEEP(connect);
int connect(int file, const struct sockaddr *address, socklen_t length)
{
    if (armed(1) && (address->sa_family == AF_INET || address->sa_family == AF_INET6) && fails("connect", "", MAKE)) {
        errno = ENETUNREACH;
        return -1;
    }
    return REAL(connect)(file, address, length);
}

#define SEND_CALL(function, parameters, ...)                                                                           \
    KEEP(function);                                                                                                    \
    ssize_t function parameters                                                                                        \
    {                                                                                                                  \
        return sends(#function, file) ? REAL(function)(__VA_ARGS__) : -1;                                              \
    }
#define RECEIVE_CALL(function, parameters, ...)                                                                        \
    KEEP(function);                                                                                                    \
    ssize_t function parameters                                                                                        \
    {                                                                                                                  \
        return came(#function, file, REAL(function)(__VA_ARGS__));                                                     \
    }
SEND_CALL(send, (int file, const void *data, size_t size, int flags), file, data, size, flags)
SEND_CALL(sendmsg, (int file, const struct msghdr *what, int flags), file, what, flags)
RECEIVE_CALL(recv, (int file, void *data, size_t size, int flags), file, data, size, flags)
RECEIVE_CALL(recvmsg, (int file, struct msghdr *what, int flags), file, what, flags)
RECEIVE_CALL(read, (int file, void *data, size_t size), file, data, size)
RECEIVE_CALL(readv, (int file, const struct iovec *parts, int count), file, parts, count)

/* To both. */
KEEP(write);
ssize_t write(int file, const void *data, size_t size)
{
    char name[PATH_MAX];
    if (!sends("write", file))
        return -1;
    if (below_file(file, name)) {
        int dies;
        ssize_t may = allowed(name, size, &dies);
        if (may < 0)
            return -1;
        size = (size_t)may;
        if (dies) {
            REAL(write)(file, data, size);
            die();
        }
    }
    return REAL(write)(file, data, size);
}

KEEP(writev);
ssize_t writev(int file, const struct iovec *parts, int count)
{
    char name[PATH_MAX];
    if (!sends("writev", file))
        return -1;
    if (below_file(file, name) && fails("writev", name, WRITE))
        return -1;
    return REAL(writev)(file, parts, count);
}
