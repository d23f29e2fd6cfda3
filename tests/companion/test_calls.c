/* The calls, on this machine's kernel, and in a sandbox that refuses them. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/companion/machine.h"
#include "tests/numa/refuse.h"

enum {
    /* <linux/mempolicy.h> */
    POLICY_DEFAULT,
    POLICY_PREFERRED,
    POLICY_BIND,
    POLICY_INTERLEAVE,
    POLICY_LOCAL,
    PAGES = 16
};

static const struct topology_companion *c;
static char *pages;
static struct node_set here; /* the node that this runs on */

static bool kernel_has_policies(void) {
    return syscall(SYS_get_mempolicy, NULL, NULL, 0, NULL, 0) == 0;
}

static void start(void) {
    unsigned node = 0;
    c = companion();
    pages = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert(pages != MAP_FAILED && getcpu(NULL, &node) == 0);
    node_set_add(&here, node);
}

static void start_with_policies(void) {
    start();
    if (!kernel_has_policies()) {
        cr_skip_test("the kernel or a sandbox here has no memory policies");
    }
}

TestSuite(calls, .init = start_with_policies);
TestSuite(sandbox, .init = start);

static int bind_to(enum binding_kind kind, const struct node_set *nodes) {
    struct binding b = {.kind = kind, .nodes = *nodes};
    return c->bind(pages, PAGES * PAGE, &b);
}

/* The second word of the line of numa_maps for the pages; "" where there is no such file. */
static const char *policy_of_pages(void) {
    static char line[512];
    static char policy[128];
    char address[32];
    policy[0] = '\0';
    (void)snprintf(address, sizeof address, "%lx ", (unsigned long)pages);
    FILE *maps = fopen("/proc/self/numa_maps", "r");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        if (strncmp(line, address, strlen(address)) == 0) {
            (void)snprintf(policy, sizeof policy, "%.*s",
                           (int)strcspn(line + strlen(address), ":="), line + strlen(address));
        }
    }
    if (maps != NULL) {
        (void)fclose(maps);
    }
    return policy;
}

static void expect_policy(const char *expected) {
    const char *policy = policy_of_pages();
    if (*policy == '\0') {
        cr_skip_test("no /proc/self/numa_maps");
    }
    cr_expect(strncmp(policy, expected, strlen(expected)) == 0, "%s", policy);
}

/* ---- bind ---- */

Test(calls, bind_prefers_a_node) {
    cr_assert(eq(i32, bind_to(BINDING_PREFERRED, &here), 0));
    expect_policy("prefer");
}

Test(calls, bind_to_nothing_takes_a_binding_away) {
    cr_assert(eq(i32, bind_to(BINDING_PREFERRED, &here), 0));
    cr_assert(eq(i32, bind_to(BINDING_NONE, &here), 0));
    expect_policy("default");
}

Test(calls, bind_interleaves_by_weight_or_else_by_turns) {
    cr_assert(eq(i32, bind_to(BINDING_INTERLEAVE, &here), 0));
    bool has_weights = access("/sys/kernel/mm/mempolicy/weighted_interleave", F_OK) == 0;
    expect_policy(has_weights ? "weighted interleave" : "interleave");
}

Test(calls, bind_interleaves_by_turns_where_the_kernel_has_no_weights) {
    cr_assert(refuse_weights());
    cr_assert(eq(i32, bind_to(BINDING_INTERLEAVE, &here), 0));
    expect_policy("interleave");
    cr_expect(eq(i32, bind_to(BINDING_INTERLEAVE, &here), 0));
}

Test(calls, bind_tells_what_is_wrong_and_forgets_it) {
    struct binding b = {.kind = BINDING_INTERLEAVE, .nodes = here};
    cr_expect(eq(i32, c->bind(pages + 1, PAGE, &b), EINVAL));
    cr_expect(eq(i32, bind_to(BINDING_INTERLEAVE, &(struct node_set){{0}}), EINVAL), "no node");
    struct node_set nowhere = {0};
    node_set_add(&nowhere, NODE_IDS - 1);
    cr_expect(eq(i32, bind_to(BINDING_PREFERRED, &nowhere), EINVAL));
    bool has_weights = access("/sys/kernel/mm/mempolicy/weighted_interleave", F_OK) == 0;
    cr_assert(eq(i32, bind_to(BINDING_INTERLEAVE, &here), 0));
    expect_policy(has_weights ? "weighted interleave" : "interleave");
}

Test(calls, bind_leaves_pages_where_they_are) {
    memset(pages, 1, PAGES * PAGE);
    cr_expect(eq(i32, bind_to(BINDING_PREFERRED, &here), 0));
    cr_expect(eq(chr, pages[PAGE], 1));
}

/* ---- locate ---- */

Test(calls, locate_tells_the_node_of_each_page) {
    int nodes[3] = {77, 77, 77};
    pages[0] = 1;
    void *where[3] = {pages, pages + PAGE, pages + 2 * PAGE};
    pages[2 * PAGE] = 1;
    cr_assert(eq(i32, c->locate(3, where, nodes), 0));
    cr_expect(nodes[0] >= 0 && nodes[2] >= 0);
    cr_expect(nodes[1] == -ENOENT || nodes[1] == -EFAULT, "never touched: %d", nodes[1]);
}

Test(calls, locate_says_so_of_what_is_not_mapped) {
    int node = 77;
    void *where = pages;
    cr_assert(munmap(pages, PAGES * PAGE) == 0);
    cr_assert(eq(i32, c->locate(1, &where, &node), 0));
    cr_expect(node < 0);
}

/* ---- the policy of the task ---- */

static void expect_task_policy(int mode, const struct node_set *nodes, enum task_policy expected) {
    unsigned long maxnode = nodes != NULL ? NODE_IDS + 1 : 0;
    cr_assert(syscall(SYS_set_mempolicy, mode, nodes, maxnode) == 0, "mode %d", mode);
    cr_expect(c->task_policy() == expected, "mode %d", mode);
}

Test(calls, a_policy_that_only_says_local_is_none) {
    expect_task_policy(POLICY_DEFAULT, NULL, TASK_POLICY_NONE);
    expect_task_policy(POLICY_LOCAL, NULL, TASK_POLICY_NONE);
    expect_task_policy(POLICY_PREFERRED, NULL, TASK_POLICY_NONE);
}

Test(calls, any_other_policy_is_the_programs) {
    expect_task_policy(POLICY_PREFERRED, &here, TASK_POLICY_OTHER);
    expect_task_policy(POLICY_BIND, &here, TASK_POLICY_OTHER);
    expect_task_policy(POLICY_INTERLEAVE, &here, TASK_POLICY_OTHER);
}

/* ---- to prefer for a while ---- */

static int mode_of_task(struct node_set *nodes) {
    int mode = -1;
    *nodes = (struct node_set){{0}};
    cr_assert(syscall(SYS_get_mempolicy, &mode, nodes, NODE_IDS + 1, NULL, 0) == 0);
    return mode;
}

static bool is_here(const struct node_set *nodes) {
    return memcmp(nodes, &here, sizeof here) == 0;
}

static void expect_a_while_of(enum binding_kind kind, int mode, int mode_before) {
    struct binding b = {.kind = kind, .nodes = here};
    struct node_set nodes;
    int was = -1;
    cr_assert(eq(i32, c->prefer(&b, &was), 0));
    cr_expect(eq(i32, mode_of_task(&nodes), mode));
    cr_expect(is_here(&nodes));
    c->prefer_as_before(was);
    cr_expect(eq(i32, mode_of_task(&nodes), mode_before));
    cr_expect(eq(u64, nodes.words[0], 0));
}

Test(calls, prefer_is_for_a_while) {
    expect_a_while_of(BINDING_PREFERRED, POLICY_PREFERRED, POLICY_DEFAULT);
    expect_a_while_of(BINDING_INTERLEAVE, POLICY_INTERLEAVE, POLICY_DEFAULT);
}

Test(calls, prefer_restores_a_policy_that_only_says_local) {
    cr_assert(syscall(SYS_set_mempolicy, POLICY_LOCAL, NULL, 0) == 0);
    expect_a_while_of(BINDING_PREFERRED, POLICY_PREFERRED, POLICY_LOCAL);
}

Test(calls, prefer_leaves_the_programs_policy) {
    struct binding b = {.kind = BINDING_PREFERRED, .nodes = here};
    struct node_set nodes;
    int was = 77;
    cr_assert(syscall(SYS_set_mempolicy, POLICY_BIND, &here, NODE_IDS + 1) == 0);
    cr_expect(eq(i32, c->prefer(&b, &was), EEXIST));
    cr_expect(eq(i32, mode_of_task(&nodes), POLICY_BIND));
    cr_expect(eq(i32, was, 77));
}

Test(calls, prefer_tells_what_is_wrong) {
    struct binding b = {.kind = BINDING_PREFERRED};
    struct node_set nodes;
    int was = 77;
    node_set_add(&b.nodes, NODE_IDS - 1);
    cr_expect(eq(i32, c->prefer(&b, &was), EINVAL));
    cr_expect(eq(i32, mode_of_task(&nodes), POLICY_DEFAULT));
    cr_expect(eq(i32, was, 77));
}

/* ---- in a sandbox ---- */

static void expect_refusal(int error) {
    int node = 77;
    void *where = pages;
    cr_assert(refuse_mempolicy(error));
    cr_expect(eq(i32, bind_to(BINDING_PREFERRED, &here), error));
    cr_expect(eq(i32, bind_to(BINDING_INTERLEAVE, &here), error));
    cr_expect(eq(i32, bind_to(BINDING_NONE, &here), error));
    cr_expect(eq(i32, c->locate(1, &where, &node), error));
    cr_expect(eq(i32, node, 77));
    cr_expect(c->task_policy() == TASK_POLICY_UNKNOWN);
    struct binding b = {.kind = BINDING_PREFERRED, .nodes = here};
    cr_expect(eq(i32, c->prefer(&b, &node), error));
    cr_expect(eq(i32, node, 77));
}

Test(sandbox, refuses_every_call) {
    expect_refusal(EPERM);
}

Test(sandbox, without_numa_in_the_kernel_knows_no_call) {
    expect_refusal(ENOSYS);
}

static void discover_this(void) {
    static struct topology t;
    cr_expect(companion()->discover(&t));
    cr_expect(t.count > 0 && strchr(nodes_allowed(&t), '+') != NULL);
    cr_expect(strchr(nodes_with_cpus(&t), '+') != NULL);
}

Test(sandbox, still_shows_the_nodes_without_a_word, .init = NULL) {
    cr_assert(refuse_mempolicy(EPERM));
    cr_expect(eq(str, (char *)words_of(discover_this), ""));
}

/* The same around a command: a filter is mode 2 of seccomp(2). */
Test(sandbox, is_laid_around_any_command_by_deny, .init = NULL) {
    char command[512];
    char line[64] = "";
    const char *libraries = getenv("TEST_LIBRARIES");
    cr_assert(libraries != NULL, "TEST_LIBRARIES is not set");
    (void)snprintf(command, sizeof command, "%s/../numa/deny grep Seccomp: /proc/self/status",
                   libraries);
    FILE *out = popen(command, "r");
    cr_assert(out != NULL && fgets(line, sizeof line, out) != NULL);
    cr_expect(eq(i32, pclose(out), 0));
    cr_expect(eq(str, line, "Seccomp:\t2\n"));
}
