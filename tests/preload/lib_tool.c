/*
 * lib_tool.c - a library with a function that others may replace, as the OpenMP runtimes of LLVM and
 * Intel have ompt_start_tool: its own asks for the next one of that name behind itself.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

int find_tool(void);
int start_tool(void);

enum {
    NO_OTHER_TOOL = 1,
    FOUND_ITSELF = 2
};

int find_tool(void) {
    return start_tool();
}

__attribute__((weak)) int start_tool(void) {
    static int depth;
    if (++depth > 1) {
        return FOUND_ITSELF;
    }
    void *symbol = dlsym(RTLD_NEXT, "start_tool");
    int (*next)(void);
    memcpy(&next, &symbol, sizeof next);
    return symbol == NULL ? NO_OTHER_TOOL : next();
}
