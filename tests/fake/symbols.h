/* symbols.h - only preprocessed: the version and the name of each symbol, for the Makefile. */
#define FN(class, implementation, base, suffix, version, ...) version base##suffix;
#define STUB(base, suffix, version, stream) version base##suffix;
#include "tests/fake/driver_api.def"
#include "tests/fake/driver_stubs.def"
