/*
 * exports.h - marks what exports.map lets out of the library.
 */
#ifndef INTERPOSE_EXPORTS_H
#define INTERPOSE_EXPORTS_H

#define EXPORT __attribute__((visibility("default")))

/* Another name for one of our functions. gcc wants it to promise what the first one does. */
#if __has_attribute(copy)
#define EXPORT_ALIAS(function) \
    __attribute__((visibility("default"), alias(#function), copy(function)))
#else
#define EXPORT_ALIAS(function) __attribute__((visibility("default"), alias(#function)))
#endif

#endif
