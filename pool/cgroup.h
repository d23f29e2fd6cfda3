/*
 * cgroup.h - the memory cgroup of this process, v1 or v2, and the groups that lie above it.
 *
 *     root  mount            group
 *     ""    /sys/fs/cgroup   /user.slice/user-1000.slice       cgroup_up() ->
 *                            /user.slice                       cgroup_up() ->
 *                                                              the uppermost
 *
 * A container may be shown a path that does not exist in it, and its own group at the mount: files
  * that are missing say nothing, and the way up finds the rest. cgroups(7), cgroup_namespaces(7).
 *
 * One caller at a time: a thread of the program may have a small stack, so the room for texts is static.
 */
#ifndef POOL_CGROUP_H
#define POOL_CGROUP_H

#include "pool/util.h"

enum {
    CGROUP_PATH = 1024,                /* of a group, its terminator included */
    CGROUP_FOLDER = CGROUP_PATH + 256, /* of a group below its root and mount */
};

struct cgroup {
    char folder[CGROUP_FOLDER]; /* root, mount and group; no slash at its end */
    size_t mount_length;        /* the bytes of root and mount: there is no group above them */
    bool v1;
};

/* The group of this process, whose /proc and /sys lie below root ("": as usual). False: it is in
 * none. Thread-safe, preserves errno. */
MUST_CHECK bool cgroup_find(struct cgroup *g, const char *root);

/* Turns to the group above. False, and nothing done: this is the uppermost. Pure. */
MUST_CHECK bool cgroup_up(struct cgroup *g);

/* The beginning of a file of the group, as text_file.h has it. */
MUST_CHECK bool cgroup_read(const struct cgroup *g, const char *file, char *text, size_t size);
size_t cgroup_number(const struct cgroup *g, const char *file, size_t otherwise);

/* Like cgroup_number, for limits: UNLIMITED for none, "max", and what v1 says in its place. */
size_t cgroup_limit(const struct cgroup *g, const char *file);

/*
 * From the text of /proc/self/cgroup, the path of the memory controller's group: of v1 where that
 * hierarchy is named, else of v2. Copies it, terminated, into path[size]; `v1` says which it was.
 * False where there is none, or it does not fit. Takes any text, and never reads past its end.
 */
MUST_CHECK bool cgroup_parse(const char *text, char *path, size_t size, bool *v1);

#endif
