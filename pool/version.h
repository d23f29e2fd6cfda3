/*
 * version.h - of the library, as its reports and the command tell it.
 */
#ifndef POOL_VERSION_H
#define POOL_VERSION_H

#define VERSION "1.0"

#endif
