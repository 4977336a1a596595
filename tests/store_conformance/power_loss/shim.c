/* What a disk is asked to do, written down in order: loaded before the C library into a process whose
 * files under CODY_DISK are watched. Every write, cut, sync, new and removed name there becomes one
 * record of the journal CODY_DISK_JOURNAL, under one lock, so the records stand in the order in which
 * things happened. While the file CODY_DISK_FAULT exists, the calls that it names fail with the error
 * that it names ("write 30", "sync 5"), as on a disk that is full, broken or read-only.
 *
 * It judges nothing: what a crash leaves of the records is decided by who reads them.
 *
 * A record is: operation (1 byte), length of the name (1), offset (8), length of the data (8), name,
 * data; numbers as the machine has them. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE = 1, CUT = 2, SYNC = 3, SYNC_NAMES = 4, CREATE = 5, REMOVE = 6, SYNC_FAILED = 7 };

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static char directory[PATH_MAX];
static size_t directory_length;
static const char *fault_file;
static int journal = -1;

__attribute__((constructor)) static void start(void) {
    const char *watched = getenv("CODY_DISK"), *path = getenv("CODY_DISK_JOURNAL");
    fault_file = getenv("CODY_DISK_FAULT");
    if (!watched || !path || !realpath(watched, directory)) return;
    directory_length = strlen(directory);
    journal = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* The name below the watched directory, "" for the directory itself, or nothing if it is not there.
 * The lock and the shared index of the WAL say nothing that has to outlive the machine. */
static const char *below(const char *path) {
    if (journal < 0 || strncmp(path, directory, directory_length) != 0) return NULL;
    const char *name = path + directory_length;
    if (*name == '\0') return name;
    if (*name++ != '/') return NULL;
    size_t length = strlen(name);
    if (length > 200 || strcmp(name, "lock") == 0) return NULL;
    if (length > 4 && strcmp(name + length - 4, "-shm") == 0) return NULL;
    return name;
}

static const char *name_of(int file, char path[PATH_MAX]) {
    if (journal < 0 || file == journal) return NULL;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0) return NULL;
    path[length] = '\0';
    return below(path);
}

static void record(uint8_t what, const char *name, uint64_t offset, const void *data, uint64_t length) {
    uint8_t head[18] = {what, (uint8_t)strlen(name)};
    memcpy(head + 2, &offset, 8);
    memcpy(head + 10, &length, 8);
    struct iovec parts[3] = {{head, sizeof head}, {(void *)name, head[1]}, {(void *)data, data ? length : 0}};
    ssize_t all = (ssize_t)(parts[0].iov_len + parts[1].iov_len + parts[2].iov_len);
    if (syscall(SYS_writev, journal, parts, 3) != all) _exit(99);
}

/* Whether the call is to fail; errno says how. What the test itself writes down never does. */
static int fails(const char *call, const char *name) {
    char text[32] = {0};
    if (!fault_file || strcmp(name, "acks") == 0) return 0;
    int file = (int)syscall(SYS_openat, AT_FDCWD, fault_file, O_RDONLY | O_CLOEXEC, 0);
    if (file < 0) return 0;
    syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    size_t length = strlen(call);
    if (strncmp(text, call, length) != 0) return 0;
    errno = atoi(text + length);
    return 1;
}

static ssize_t do_write(int file, const void *data, size_t length, int64_t offset) {
    char path[PATH_MAX];
    const char *name = name_of(file, path);
    int is_append = offset < 0;
    if (!name) {
        return is_append ? syscall(SYS_write, file, data, length)
                         : syscall(SYS_pwrite64, file, data, length, offset);
    }
    pthread_mutex_lock(&turn);
    ssize_t done = -1;
    if (!fails("write", name)) {
        if (is_append) offset = syscall(SYS_lseek, file, 0, SEEK_CUR);
        done = is_append ? syscall(SYS_write, file, data, length)
                         : syscall(SYS_pwrite64, file, data, length, offset);
        if (done > 0) record(WRITE, name, (uint64_t)offset, data, (uint64_t)done);
    }
    pthread_mutex_unlock(&turn);
    return done;
}

ssize_t write(int file, const void *data, size_t length) { return do_write(file, data, length, -1); }
ssize_t pwrite(int file, const void *data, size_t length, off_t offset) {
    return do_write(file, data, length, offset);
}
ssize_t pwrite64(int file, const void *data, size_t length, off64_t offset) {
    return do_write(file, data, length, offset);
}

static int do_cut(int file, int64_t length) {
    char path[PATH_MAX];
    const char *name = name_of(file, path);
    if (!name) return (int)syscall(SYS_ftruncate, file, length);
    pthread_mutex_lock(&turn);
    int done = fails("write", name) ? -1 : (int)syscall(SYS_ftruncate, file, length);
    if (done == 0) record(CUT, name, (uint64_t)length, NULL, 0);
    pthread_mutex_unlock(&turn);
    return done;
}

int ftruncate(int file, off_t length) { return do_cut(file, length); }
int ftruncate64(int file, off64_t length) { return do_cut(file, length); }

static int do_sync(int file, long call) {
    char path[PATH_MAX];
    const char *name = name_of(file, path);
    if (!name) return (int)syscall(call, file);
    pthread_mutex_lock(&turn);
    int done = fails("sync", name) ? -1 : (int)syscall(call, file);
    if (done == 0) record(*name ? SYNC : SYNC_NAMES, name, 0, NULL, 0);
    else if (*name) record(SYNC_FAILED, name, 0, NULL, 0);
    pthread_mutex_unlock(&turn);
    return done;
}

int fdatasync(int file) { return do_sync(file, SYS_fdatasync); }
int fsync(int file) { return do_sync(file, SYS_fsync); }

static int do_open(int folder, const char *path, int flags, mode_t mode) {
    const char *name = (flags & O_CREAT) ? below(path) : NULL;
    if (!name || !*name) return (int)syscall(SYS_openat, folder, path, flags, mode);
    pthread_mutex_lock(&turn);
    int is_new = syscall(SYS_faccessat, AT_FDCWD, path, F_OK) != 0;
    int file = is_new && fails("write", name) ? -1 : (int)syscall(SYS_openat, folder, path, flags, mode);
    if (file >= 0 && is_new) record(CREATE, name, 0, NULL, 0);
    if (file >= 0 && !is_new && (flags & O_TRUNC)) record(CUT, name, 0, NULL, 0);
    pthread_mutex_unlock(&turn);
    return file;
}

#define MODE(flags, mode)                                                                              \
    mode_t mode = 0;                                                                                   \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                             \
        va_list rest;                                                                                  \
        va_start(rest, flags);                                                                         \
        mode = va_arg(rest, mode_t);                                                                   \
        va_end(rest);                                                                                  \
    }

int open(const char *path, int flags, ...) { MODE(flags, mode) return do_open(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags, mode) return do_open(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE(flags, mode) return do_open(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE(flags, mode) return do_open(folder, path, flags, mode); }

int unlink(const char *path) {
    const char *name = below(path);
    if (!name) return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    pthread_mutex_lock(&turn);
    int done = fails("write", name) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (done == 0) record(REMOVE, name, 0, NULL, 0);
    pthread_mutex_unlock(&turn);
    return done;
}
