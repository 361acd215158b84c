/* Loaded into the program with LD_PRELOAD: counts its changes to files in one folder, and at a given one kills the process or makes the disk fail.
   It can also make the clocks jump.

   FAULTS_DIR      the folder; only calls on files in it are counted
   FAULTS_LOG      a file that gets one line for each counted call, and one for each start, so that a caller can see that it was loaded
   FAULTS_AT       the number of the call, from 1 on
   FAULTS_HOW      kill (before the call), kill-half (a write does half of its bytes first), enospc, eio, erofs (from that call on), eio-once, short
                   (from that call on a write does at most 7 bytes), eintr (that call is interrupted once)
   FAULTS_REALTIME seconds since 1970 that the clock of the day says, or `jump`: up to 100 years to and fro at each look
   FAULTS_MONOTONIC `jump`: the steady clock goes up to an hour ahead at each look; it never goes back */
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
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define DESCRIPTORS 4096

static char folder[PATH_MAX], how[32], realtime[32];
static size_t folder_length;
static long at;
static int log_descriptor = -1, monotonic_jumps;
static atomic_long calls, looks;
static atomic_llong ahead;
static atomic_char ours[DESCRIPTORS];

static const char *setting(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

static void log_line(const char *call, const char *path) {
    if (log_descriptor < 0) return;
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%ld %s %s\n", atomic_load(&calls), call, path);
    syscall(SYS_write, log_descriptor, line, length);
}

__attribute__((constructor)) static void begin(void) {
    const char *path = setting("FAULTS_DIR");
    folder_length = strlen(path);
    if (folder_length >= sizeof folder) folder_length = 0;
    memcpy(folder, path, folder_length);
    at = atol(setting("FAULTS_AT"));
    snprintf(how, sizeof how, "%s", setting("FAULTS_HOW"));
    snprintf(realtime, sizeof realtime, "%s", setting("FAULTS_REALTIME"));
    monotonic_jumps = *setting("FAULTS_MONOTONIC") != 0;
    if (*setting("FAULTS_LOG")) {
        log_descriptor = syscall(SYS_openat, AT_FDCWD, setting("FAULTS_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    }
    log_line("start", "");
}

#define REAL(result, name, ...) \
    static result (*real)(__VA_ARGS__); \
    if (!real) real = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static int inside(const char *path) {
    return folder_length && strncmp(path, folder, folder_length) == 0 && (path[folder_length] == '/' || path[folder_length] == 0);
}

/* Whether `path`, relative to the folder open as `base`, is in the folder; `whole` gets the absolute path. */
static int inside_at(int base, const char *path, char whole[2 * PATH_MAX]) {
    char start[PATH_MAX], link[64];
    if (path[0] == '/') {
        snprintf(whole, 2 * PATH_MAX, "%s", path);
        return inside(whole);
    }
    if (base == AT_FDCWD) {
        if (syscall(SYS_getcwd, start, sizeof start) < 0) return 0;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", base);
        ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, start, sizeof start - 1);
        if (length < 0) return 0;
        start[length] = 0;
    }
    snprintf(whole, 2 * PATH_MAX, "%s/%s", start, path);
    return inside(whole);
}

/* What becomes of a counted call: 0, as usual; 1, half a write and then the end; an error number; or -1, a short write. */
static int fate(const char *call, const char *path) {
    long number = atomic_fetch_add(&calls, 1) + 1;
    log_line(call, path);
    if (!at || number < at) return 0;
    int now = number == at;
    if (now && strcmp(how, "kill") == 0) syscall(SYS_kill, getpid(), SIGKILL);
    if (now && strcmp(how, "kill-half") == 0) return 1;
    if (strcmp(how, "enospc") == 0 && strcmp(call, "unlink") != 0 && strcmp(call, "sync") != 0) return ENOSPC;
    if (strcmp(how, "eio") == 0 || (now && strcmp(how, "eio-once") == 0)) return EIO;
    if (strcmp(how, "erofs") == 0 && strcmp(call, "sync") != 0) return EROFS;
    if (strcmp(how, "short") == 0) return -1;
    if (now && strcmp(how, "eintr") == 0) return EINTR;
    return 0;
}

static void end(void) { syscall(SYS_kill, getpid(), SIGKILL); }

/* Fails the calling function with the call's fate, where that is an error. */
#define SUFFER(call, path) \
    do { \
        int suffered = fate(call, path); \
        if (suffered == 1) end(); \
        if (suffered > 1) { errno = suffered; return -1; } \
    } while (0)

static int is_ours(int descriptor) { return descriptor >= 0 && descriptor < DESCRIPTORS && atomic_load(&ours[descriptor]); }

static const char *name_of(int descriptor, char path[PATH_MAX]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return path;
}

static int opened(int base, const char *path, int flags, mode_t mode) {
    char whole[2 * PATH_MAX];
    int found = inside_at(base, path, whole);
    if (found && (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC))) SUFFER("open", whole);
    long descriptor = syscall(SYS_openat, base, path, flags, mode);
    if (descriptor < 0) {
        return -1; /* syscall has set errno */
    }
    if (descriptor < DESCRIPTORS) atomic_store(&ours[descriptor], found);
    return descriptor;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

int open(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int openat(int base, const char *path, int flags, ...) { MODE(flags) return opened(base, path, flags, mode); }
int openat64(int base, const char *path, int flags, ...) { MODE(flags) return opened(base, path, flags, mode); }

int close(int descriptor) {
    if (descriptor >= 0 && descriptor < DESCRIPTORS) atomic_store(&ours[descriptor], 0);
    return syscall(SYS_close, descriptor);
}

ssize_t write(int descriptor, const void *bytes, size_t count) {
    if (is_ours(descriptor)) {
        char path[PATH_MAX];
        int suffered = fate("write", name_of(descriptor, path));
        if (suffered == 1) {
            syscall(SYS_write, descriptor, bytes, count / 2);
            end();
        }
        if (suffered > 1) { errno = suffered; return -1; }
        if (suffered < 0 && count > 7) count = 7;
    }
    return syscall(SYS_write, descriptor, bytes, count);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t offset) {
    char path[PATH_MAX];
    if (is_ours(descriptor)) SUFFER("write", name_of(descriptor, path));
    return syscall(SYS_pwrite64, descriptor, bytes, count, offset);
}

ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    char path[PATH_MAX];
    if (is_ours(descriptor)) SUFFER("write", name_of(descriptor, path));
    return syscall(SYS_writev, descriptor, parts, count);
}

int ftruncate64(int descriptor, off64_t length) {
    char path[PATH_MAX];
    if (is_ours(descriptor)) SUFFER("truncate", name_of(descriptor, path));
    return syscall(SYS_ftruncate, descriptor, length);
}

int fsync(int descriptor) {
    char path[PATH_MAX];
    if (is_ours(descriptor)) SUFFER("sync", name_of(descriptor, path));
    return syscall(SYS_fsync, descriptor);
}

int fdatasync(int descriptor) {
    char path[PATH_MAX];
    if (is_ours(descriptor)) SUFFER("sync", name_of(descriptor, path));
    return syscall(SYS_fdatasync, descriptor);
}

int rename(const char *from, const char *to) {
    char whole[2 * PATH_MAX];
    if (inside_at(AT_FDCWD, to, whole)) SUFFER("rename", whole);
    return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat(int from_base, const char *from, int to_base, const char *to) {
    char whole[2 * PATH_MAX];
    if (inside_at(to_base, to, whole)) SUFFER("rename", whole);
    return syscall(SYS_renameat2, from_base, from, to_base, to, 0);
}

int mkdir(const char *path, mode_t mode) {
    char whole[2 * PATH_MAX];
    if (inside_at(AT_FDCWD, path, whole)) SUFFER("mkdir", whole);
    return syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int unlink(const char *path) {
    char whole[2 * PATH_MAX];
    if (inside_at(AT_FDCWD, path, whole)) SUFFER("unlink", whole);
    return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int rmdir(const char *path) {
    char whole[2 * PATH_MAX];
    if (inside_at(AT_FDCWD, path, whole)) SUFFER("unlink", whole);
    return syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

int unlinkat(int base, const char *path, int flags) {
    char whole[2 * PATH_MAX];
    if (inside_at(base, path, whole)) SUFFER("unlink", whole);
    return syscall(SYS_unlinkat, base, path, flags);
}

/* A number that looks random and is the same in each run. */
static unsigned long long mixed(unsigned long long number) {
    number += 0x9e3779b97f4a7c15ull;
    number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9ull;
    number = (number ^ (number >> 27)) * 0x94d049bb133111ebull;
    return number ^ (number >> 31);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    REAL(int, "clock_gettime", clockid_t, struct timespec *);
    int result = real(clock, time);
    if (result == 0 && clock == CLOCK_REALTIME && *realtime) {
        long look = atomic_fetch_add(&looks, 1);
        if (strcmp(realtime, "jump") == 0) time->tv_sec += (long)(mixed(look) % 6311520000ull) - 3155760000l;
        else time->tv_sec = atol(realtime);
        log_line("realtime", realtime);
    }
    if (result == 0 && clock == CLOCK_MONOTONIC && monotonic_jumps) {
        long look = atomic_fetch_add(&looks, 1);
        time->tv_sec += atomic_fetch_add(&ahead, (long long)(mixed(look) % 3600)) + (long long)(mixed(look) % 3600);
    }
    return result;
}
