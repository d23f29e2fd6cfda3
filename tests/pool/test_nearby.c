#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "pool/nearby.h"
#include "tests/pool/fake_nodes.h"
#include "tests/pool/files.h"

static struct placement plan;
static struct nearby device;

static void start(void) {
    files_make();
    fake_nodes = (struct fake_nodes){0};
    fake_nodes_plan(&plan, NUMA_AUTO, 4);
    device = (struct nearby){.node = 2};
}

TestSuite(nearby, .init = start, .fini = files_remove);

/* ---- which node ---- */

static int node_at(const char *address) {
    return nearby_node(files_path(""), address);
}

Test(nearby, a_device_is_found_as_cuda_writes_its_address) {
    files_put("/bus/pci/devices/0000:3b:00.0/numa_node", "3\n");
    cr_expect(eq(i32, node_at("0000:3b:00.0"), 3));
    cr_expect(eq(i32, node_at("0000:3B:00.0"), 3));
    cr_expect(eq(i32, node_at("00000000:3B:00.0"), 3));
}

Test(nearby, a_long_domain_is_kept) {
    files_put("/bus/pci/devices/10000:01:00.0/numa_node", "1\n");
    cr_expect(eq(i32, node_at("10000:01:00.0"), 1));
    cr_expect(eq(i32, node_at("00010000:01:00.0"), 1));
}

Test(nearby, what_nobody_knows_is_no_node) {
    files_put("/bus/pci/devices/0000:01:00.0/numa_node", "-1\n");
    files_put("/bus/pci/devices/0000:02:00.0/numa_node", "1024\n");
    files_put("/bus/pci/devices/0000:03:00.0/numa_node", "");
    files_put("/numa_node", "1\n");
    static const char *const addresses[] = {"0000:01:00.0",
                                            "0000:02:00.0",
                                            "0000:03:00.0",
                                            "0000:04:00.0",
                                            "",
                                            "../../..",
                                            "0000:01:00.0/../0000:05:00.0"};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        cr_expect(eq(i32, node_at(addresses[i]), -1), "%s", addresses[i]);
    }
}

Test(nearby, an_address_without_end_is_cut) {
    char address[1024];
    memset(address, '1', sizeof address);
    address[sizeof address - 1] = '\0';
    cr_expect(eq(i32, node_at(address), -1));
}

/* ---- around a call ---- */

static bool begins(void) {
    int was = 0;
    bool is_near = nearby_begin(&device, &plan, &fake_companion, &was);
    if (is_near) {
        cr_expect(fake_nodes.is_preferred);
        cr_expect(node_set_has(&fake_nodes.binding.nodes, 2));
        nearby_end(&fake_companion, was);
    }
    cr_expect(not(fake_nodes.is_preferred));
    return is_near;
}

static void expect_word(const char *word) {
    cr_expect(strcmp(nearby_word(&device, &plan), word) == 0, "%s", nearby_word(&device, &plan));
}

Test(nearby, the_thread_prefers_the_node_for_a_while) {
    errno = EXFULL;
    cr_expect(begins());
    cr_expect(begins());
    cr_expect(eq(i32, errno, EXFULL));
    expect_word("preferred");
}

Test(nearby, what_is_refused_is_tried_once) {
    errno = EXFULL;
    fake_nodes.prefer_error = EPERM;
    cr_expect(not(begins()));
    cr_expect(not(begins()));
    cr_expect(eq(sz, fake_nodes.prefer_calls, 1));
    cr_expect(eq(i32, errno, EXFULL));
    expect_word("EPERM");
}

Test(nearby, a_policy_of_the_thread_holds_as_long_as_it_has_it) {
    fake_nodes.prefer_error = EEXIST;
    cr_expect(not(begins()));
    expect_word("task policy");
    fake_nodes.prefer_error = 0;
    cr_expect(begins());
    expect_word("preferred");
}

Test(nearby, nothing_is_asked_where_it_does_not_matter) {
    device.node = -1;
    cr_expect(not(begins()));
    device.node = 2;
    fake_nodes_plan(&plan, NUMA_OFF, 4);
    cr_expect(not(begins()));
    plan = (struct placement){.pools = 1};
    cr_expect(not(begins()));
    cr_expect(eq(sz, fake_nodes.prefer_calls, 0));
    expect_word("first touch");
}

Test(nearby, without_a_companion_nothing_can_be_done) {
    int was = 0;
    cr_expect(not(nearby_begin(&device, &plan, NULL, &was)));
    expect_word("ENOSYS");
}
