/* A disk that fails, between a process and the C library (LD_PRELOAD). Only files under FAULT_SHIM_DIR are touched.
 *
 * FAULT_SHIM=KIND:FIRST[:COUNT] makes COUNT operations from number FIRST on (counted from 1) go wrong:
 *   enospc   writes fail: no space left on the device
 *   short    writes write half of what they were given
 *   fsync    fsync and fdatasync fail: input/output error
 *   read     reads fail: input/output error
 *   cut      before that operation (a write, a truncation, an fsync or a rename) the power goes: whatever was not made durable by an fsync of
 *            its file, and of its folder where a name is new, is undone, and the process ends at once
 *
 * SQLite, Rust's standard library and tantivy come by at write and pwrite; FAISS at fwrite, which only "enospc" meets.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { NONE, ENOSPC_, SHORT, FSYNC, READ, CUT };

/* How to take back what is not durable yet: newest first in the list. */
struct undo {
    struct undo *older;
    enum { BYTES, LENGTH, CREATED, RENAMED } what;
    char path[PATH_MAX], other[PATH_MAX]; /* RENAMED: from `other` to `path`; `saved` keeps what stood at `path` */
    char saved[PATH_MAX];
    off_t at, length; /* BYTES: what stood at `at`, and the length of the file before */
    size_t size;
    char *bytes;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct undo *newest;
static const char *root;
static enum kind kind;
static long first, count = LONG_MAX, seen;
static int saved_files;

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)

static void setup(void) {
    static int done;
    if (done) return;
    done = 1;
    root = getenv("FAULT_SHIM_DIR");
    const char *fault = getenv("FAULT_SHIM");
    char name[16] = "";
    if (!root || !fault || sscanf(fault, "%15[a-z]:%ld:%ld", name, &first, &count) < 2) return;
    const char *names[] = {"", "enospc", "short", "fsync", "read", "cut"};
    for (int k = ENOSPC_; k <= CUT; k++) if (!strcmp(name, names[k])) kind = k;
}

/* The path of an open file, if it is one of ours. */
static int ours(int fd, char *path) {
    setup();
    if (kind == NONE) return 0;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    /* SQLite's shared memory is never durable and is built anew. */
    return !strncmp(path, root, strlen(root)) && !strstr(path, "-shm") && !strstr(path, ".saved-by-shim");
}

static int due(void) { return ++seen >= first && seen - first < count; }

static void power_cut(void) {
    REAL(pwrite64);
    for (struct undo *u = newest; u; u = u->older) {
        if (u->what == BYTES || u->what == LENGTH) {
            int fd = open(u->path, O_WRONLY);
            if (fd < 0) continue;
            if (u->size) real(fd, u->bytes, u->size, u->at);
            if (syscall(77 /* ftruncate */, fd, u->length)) {}
            close(fd);
        } else if (u->what == CREATED) {
            unlink(u->path);
        } else {
            syscall(82 /* rename */, u->path, u->other);
            if (u->saved[0]) syscall(82, u->saved, u->path);
        }
    }
    _exit(137);
}

static struct undo *note(int what, const char *path) {
    struct undo *u = calloc(1, sizeof *u);
    u->what = what;
    strncpy(u->path, path, PATH_MAX - 1);
    u->older = newest;
    newest = u;
    return u;
}

/* Keeps what stands at a place that is about to be overwritten or cut off. */
static void keep(int fd, const char *path, off_t at, size_t size) {
    struct stat s;
    if (fstat(fd, &s) || !S_ISREG(s.st_mode)) return;
    struct undo *u = note(BYTES, path);
    u->at = at;
    u->length = s.st_size;
    u->size = at >= s.st_size ? 0 : (size_t)(s.st_size - at) < size ? (size_t)(s.st_size - at) : size;
    u->bytes = malloc(u->size + 1);
    /* The descriptor may be write-only. */
    int reader = open(path, O_RDONLY);
    if (reader >= 0) {
        REAL(pread64);
        if (real(reader, u->bytes, u->size, at) < 0) u->size = 0;
        close(reader);
    }
}

/* Forgets what an fsync has made durable: a file's bytes, or a folder's entries. */
static void durable(const char *path, int is_folder) {
    struct undo **at = &newest;
    while (*at) {
        struct undo *u = *at;
        int settled;
        if (is_folder) {
            char copy[PATH_MAX];
            strcpy(copy, u->path);
            settled = (u->what == CREATED || u->what == RENAMED) && !strcmp(dirname(copy), path);
            if (settled && u->saved[0]) unlink(u->saved);
        } else {
            settled = (u->what == BYTES || u->what == LENGTH) && !strcmp(u->path, path);
        }
        if (settled) {
            *at = u->older;
            free(u->bytes);
            free(u);
        } else {
            at = &u->older;
        }
    }
}

/* What a write is to do: 0 as asked, 1 fail, 2 write half. */
static int before_write(int fd, off_t at, size_t size) {
    char path[PATH_MAX];
    int verdict = 0;
    if (!ours(fd, path)) return 0;
    pthread_mutex_lock(&lock);
    if (kind == CUT) {
        if (due()) power_cut();
        keep(fd, path, at >= 0 ? at : lseek(fd, 0, fcntl(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR), size);
    } else if ((kind == ENOSPC_ || kind == SHORT) && due()) {
        verdict = kind == SHORT && size > 1 ? 2 : 1;
    }
    pthread_mutex_unlock(&lock);
    return verdict;
}

#define WRITE(call, at, size)                                  \
    switch (before_write(fd, at, size)) {                      \
    case 1: errno = ENOSPC; return -1;                         \
    case 2: size /= 2;                                         \
    }                                                          \
    return call

ssize_t write(int fd, const void *bytes, size_t size) { REAL(write); WRITE(real(fd, bytes, size), -1, size); }
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) { REAL(pwrite); WRITE(real(fd, bytes, size, at), at, size); }
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) { REAL(pwrite64); WRITE(real(fd, bytes, size, at), at, size); }

ssize_t writev(int fd, const struct iovec *parts, int n) {
    REAL(writev);
    size_t size = 0;
    for (int i = 0; i < n; i++) size += parts[i].iov_len;
    if (before_write(fd, -1, size)) { errno = ENOSPC; return -1; }
    return real(fd, parts, n);
}

size_t fwrite(const void *bytes, size_t size, size_t n, FILE *file) {
    REAL(fwrite);
    char path[PATH_MAX];
    if (!ours(fileno(file), path) || kind != ENOSPC_) return real(bytes, size, n, file);
    pthread_mutex_lock(&lock);
    int fail = due();
    pthread_mutex_unlock(&lock);
    if (!fail) return real(bytes, size, n, file);
    errno = ENOSPC;
    return 0;
}

static int before_truncate(int fd, off_t length) {
    char path[PATH_MAX];
    if (!ours(fd, path)) return 0;
    struct stat s;
    pthread_mutex_lock(&lock);
    int fail = 0;
    if (kind == CUT) {
        if (due()) power_cut();
        if (!fstat(fd, &s)) keep(fd, path, length, s.st_size > length ? s.st_size - length : 0);
    } else if (kind == ENOSPC_ && due()) {
        fail = 1;
    }
    pthread_mutex_unlock(&lock);
    return fail;
}

int ftruncate(int fd, off_t length) { REAL(ftruncate); if (before_truncate(fd, length)) { errno = ENOSPC; return -1; } return real(fd, length); }
int ftruncate64(int fd, off64_t length) { REAL(ftruncate64); if (before_truncate(fd, length)) { errno = ENOSPC; return -1; } return real(fd, length); }

static int before_sync(int fd) {
    char path[PATH_MAX];
    struct stat s;
    if (!ours(fd, path)) return 0;
    pthread_mutex_lock(&lock);
    int fail = kind == FSYNC && due();
    if (kind == CUT) {
        if (due()) power_cut();
        durable(path, !fstat(fd, &s) && S_ISDIR(s.st_mode));
    }
    pthread_mutex_unlock(&lock);
    return fail;
}

int fsync(int fd) { REAL(fsync); if (before_sync(fd)) { errno = EIO; return -1; } return real(fd); }
int fdatasync(int fd) { REAL(fdatasync); if (before_sync(fd)) { errno = EIO; return -1; } return real(fd); }

static int before_read(int fd) {
    char path[PATH_MAX];
    if (!ours(fd, path) || kind != READ) return 0;
    pthread_mutex_lock(&lock);
    int fail = due();
    pthread_mutex_unlock(&lock);
    return fail;
}

ssize_t read(int fd, void *bytes, size_t size) { REAL(read); if (before_read(fd)) { errno = EIO; return -1; } return real(fd, bytes, size); }
ssize_t pread(int fd, void *bytes, size_t size, off_t at) { REAL(pread); if (before_read(fd)) { errno = EIO; return -1; } return real(fd, bytes, size, at); }
ssize_t pread64(int fd, void *bytes, size_t size, off64_t at) { REAL(pread64); if (before_read(fd)) { errno = EIO; return -1; } return real(fd, bytes, size, at); }

int rename(const char *from, const char *to) {
    REAL(rename);
    setup();
    if (kind == CUT && !strncmp(to, root, strlen(root))) {
        pthread_mutex_lock(&lock);
        if (due()) power_cut();
        struct undo *u = note(RENAMED, to);
        strncpy(u->other, from, PATH_MAX - 1);
        if (!access(to, F_OK)) {
            snprintf(u->saved, PATH_MAX, "%s/%d.saved-by-shim", root, saved_files++);
            if (link(to, u->saved)) u->saved[0] = 0;
        }
        /* Bytes written under the old name are undone under the old name. */
        int result = real(from, to);
        for (struct undo *o = newest; o; o = o->older)
            if ((o->what == BYTES || o->what == LENGTH) && !strcmp(o->path, from)) strncpy(o->path, to, PATH_MAX - 1);
        pthread_mutex_unlock(&lock);
        return result;
    }
    return real(from, to);
}

static void after_open(const char *path, int flags, int existed, int fd) {
    setup();
    char full[PATH_MAX];
    if (fd < 0 || kind != CUT || !(flags & O_CREAT) || existed || !ours(fd, full)) return;
    (void)path;
    pthread_mutex_lock(&lock);
    note(CREATED, full);
    pthread_mutex_unlock(&lock);
}

#define OPEN(name)                                             \
    int name(const char *path, int flags, ...) {               \
        REAL(name);                                            \
        va_list rest;                                          \
        va_start(rest, flags);                                 \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                          \
        int existed = !access(path, F_OK);                     \
        int fd = real(path, flags, mode);                      \
        after_open(path, flags, existed, fd);                  \
        return fd;                                             \
    }
OPEN(open)
OPEN(open64)
