/*
 * lib_tomorrow.c - for who asks for the time by time(2), it is 25 hours later.
 */
#include <time.h>

time_t time(time_t *at) {
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    time_t later = now.tv_sec + (time_t)25 * 3600;
    if (at != NULL) {
        *at = later;
    }
    return later;
}
