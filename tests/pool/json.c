#include "tests/pool/json.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEPTH_MAX = 16
};

static bool value(const char **p, int depth);

static void blanks(const char **p) {
    *p += strspn(*p, " \t\n\r");
}

static bool accept(const char **p, char c) {
    blanks(p);
    bool is_it = **p == c;
    *p += is_it;
    return is_it;
}

static bool escape(const char **p) {
    char c = *(*p)++;
    if (c != 'u') {
        return c != '\0' && strchr("\"\\/bfnrt", c) != NULL;
    }
    for (int i = 0; i < 4; i++) {
        if (!isxdigit((unsigned char)*(*p)++)) {
            return false;
        }
    }
    return true;
}

static bool string(const char **p) {
    if (!accept(p, '"')) {
        return false;
    }
    while (**p != '"') {
        unsigned char c = (unsigned char)*(*p)++;
        if (c < ' ' || (c == '\\' && !escape(p))) {
            return false;
        }
    }
    (*p)++;
    return true;
}

static bool word(const char **p) {
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strncmp(*p, words[i], strlen(words[i])) == 0) {
            *p += strlen(words[i]);
            return true;
        }
    }
    return false;
}

static bool digits(const char **p) {
    size_t n = strspn(*p, "0123456789");
    *p += n;
    return n > 0;
}

static bool number(const char **p) {
    *p += **p == '-';
    bool leading_zero = **p == '0' && isdigit((unsigned char)(*p)[1]);
    if (leading_zero || !digits(p)) {
        return false;
    }
    if (**p == '.') {
        (*p)++;
        return digits(p);
    }
    return true;
}

/* What stands between the brackets, one `item` after the other. */
static bool items(const char **p, int depth, char close, bool (*item)(const char **p, int depth)) {
    if (accept(p, close)) {
        return true;
    }
    do {
        if (!item(p, depth)) {
            return false;
        }
    } while (accept(p, ','));
    return accept(p, close);
}

static bool member(const char **p, int depth) {
    return string(p) && accept(p, ':') && value(p, depth);
}

static bool value(const char **p, int depth) {
    blanks(p);
    if (depth > DEPTH_MAX) {
        return false;
    }
    if (accept(p, '{')) {
        return items(p, depth + 1, '}', member);
    }
    if (accept(p, '[')) {
        return items(p, depth + 1, ']', value);
    }
    return **p == '"' ? string(p) : word(p) || number(p);
}

bool json_is_valid(const char *text) {
    if (!value(&text, 0)) {
        return false;
    }
    blanks(&text);
    return *text == '\0';
}

size_t json_number(const char *text, const char *name) {
    char key[64];
    (void)snprintf(key, sizeof key, "\"%s\": ", name);
    const char *p = strstr(text, key);
    return p != NULL ? strtoull(p + strlen(key), NULL, 10) : SIZE_MAX;
}
