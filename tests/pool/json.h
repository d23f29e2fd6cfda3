/*
 * json.h - is a text one JSON value of RFC 8259, nothing less and nothing more?
 */
#ifndef TESTS_POOL_JSON_H
#define TESTS_POOL_JSON_H

#include "pool/util.h"

/* Strict: no trailing commas, no leading zeros, no control characters in strings. */
bool json_is_valid(const char *text);

/* The number behind the first "name": of the text; SIZE_MAX where there is none. */
size_t json_number(const char *text, const char *name);

#endif
