#include "pool/profile.h"

#include <string.h>

#include "pool/number.h"

static const char MAGIC[] = "bigmalloc-profile ";
static const char VERSION[] = "2 ";

bool profile_add_pool(struct profile *p, const struct profile_place *place, size_t peak) {
    if (p->pool_count == PROFILE_POOLS) {
        return false;
    }
    p->pools[p->pool_count++] = (struct profile_pool){
        .place = *place, .peak = peak, .first = p->line_count, .end = p->line_count};
    return true;
}

void profile_add(struct profile *p, struct profile_line line) {
    if (line.blocks != 0 && p->line_count < PROFILE_LINES && p->pool_count != 0) {
        p->lines[p->line_count++] = line;
        p->pools[p->pool_count - 1].end = p->line_count;
    }
}

size_t profile_peak(const struct profile *p, const char *kind) {
    size_t sum = 0;
    for (unsigned i = 0; i < p->pool_count; i++) {
        bool counts = kind == NULL || strcmp(p->pools[i].place.kind, kind) == 0;
        sum += counts ? size_min(p->pools[i].peak, SIZE_CLASS_MAX - sum) : 0;
    }
    return sum;
}

struct profile_pool *profile_find(struct profile *p, const struct profile_place *place) {
    for (unsigned i = 0; i < p->pool_count; i++) {
        struct profile_pool *pool = &p->pools[i];
        if (!pool->is_taken && strcmp(pool->place.kind, place->kind) == 0 &&
            strcmp(pool->place.where, place->where) == 0) {
            return pool;
        }
    }
    return NULL;
}

/* ---- writing ---- */

static void write_pool(struct writer *w, const struct profile *p, const struct profile_pool *pool) {
    write_text(w, pool->place.kind);
    write_char(w, ' ');
    write_text(w, pool->place.where);
    write_char(w, ' ');
    write_number(w, pool->peak, 0);
    write_char(w, '\n');
    for (unsigned i = pool->first; i < pool->end; i++) {
        write_number(w, p->lines[i].bytes, 0);
        write_char(w, ' ');
        write_number(w, p->lines[i].blocks, 0);
        write_char(w, '\n');
    }
}

void profile_write(struct writer *w, const struct profile *p) {
    write_text(w, MAGIC);
    write_text(w, VERSION);
    write_text(w, p->command);
    write_char(w, '\n');
    for (unsigned i = 0; i < p->pool_count; i++) {
        write_pool(w, p, &p->pools[i]);
    }
    write_text(w, "end\n");
}

/* ---- reading: each moves *text behind what it has read ---- */

static bool read_word(const char **text, const char *word) {
    size_t length = strlen(word);
    bool found = strncmp(*text, word, length) == 0;
    *text += found ? length : 0;
    return found;
}

/* A number up to `most`, and what ends it. */
static bool read_number(const char **text, const char *end, size_t most, size_t *n) {
    return number_parse(*text, text, n) && *n <= most && read_word(text, end);
}

/* What ends before `end`, which is read too, and is not empty where the room is for one word. */
static bool read_text(const char **text, const char *end, char *room, size_t size) {
    size_t length = strcspn(*text, end);
    if (length >= size) {
        return false;
    }
    memcpy(room, *text, length);
    room[length] = '\0';
    *text += length;
    return **text != '\0' && *(*text)++ == end[0];
}

static bool read_name(const char **text, char *room, size_t size) {
    return read_text(text, " \n", room, size) && *room != '\0';
}

static bool read_pool(const char **text, struct profile *p) {
    struct profile_place place = {0};
    size_t peak = 0;
    return read_name(text, place.kind, sizeof place.kind) &&
           read_name(text, place.where, sizeof place.where) &&
           read_number(text, "\n", SIZE_CLASS_MAX, &peak) && profile_add_pool(p, &place, peak);
}

/* The sizes are those of blocks: whole pages. */
static bool read_line(const char **text, struct profile *p) {
    struct profile_line line;
    bool is_read = read_number(text, " ", SIZE_CLASS_MAX, &line.bytes) &&
                   read_number(text, "\n", UINT32_MAX, &line.blocks);
    if (!is_read || p->line_count == PROFILE_LINES || line.bytes == 0 || line.bytes % PAGE != 0) {
        return false;
    }
    profile_add(p, line);
    return true;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool profile_parse(struct profile *p, const char *text) {
    p->pool_count = 0;
    p->line_count = 0;
    bool is_one = read_word(&text, MAGIC) && read_word(&text, VERSION) &&
                  read_text(&text, "\n", p->command, sizeof p->command);
    while (is_one && !read_word(&text, "end\n")) {
        is_one = is_digit(*text) && p->pool_count != 0 ? read_line(&text, p) : read_pool(&text, p);
    }
    return is_one && *text == '\0';
}

bool profile_is_one(const char *text) {
    return read_word(&text, MAGIC);
}

/* ---- walking ---- */

/* The line that it has come to; NULL: it is at the end. */
static const struct profile_line *line_of(struct profile_walk *walk) {
    unsigned i = walk->pool != NULL ? walk->pool->first + walk->line : 0;
    if (walk->pool == NULL || i >= walk->pool->end) {
        walk->pool = NULL;
        return NULL;
    }
    return &walk->profile->lines[i];
}

static void go_on(struct profile_walk *walk) {
    walk->line++;
    walk->made = 0;
}

size_t profile_next_block(struct profile_walk *walk, size_t most) {
    for (const struct profile_line *line = line_of(walk); line != NULL; line = line_of(walk)) {
        if (line->bytes <= most && walk->made < line->blocks) {
            walk->made++;
            return line->bytes;
        }
        go_on(walk);
    }
    return 0;
}

size_t profile_next_piece(struct profile_walk *walk, size_t most) {
    for (const struct profile_line *line = line_of(walk); line != NULL; line = line_of(walk)) {
        size_t pieces = (line->bytes - 1) / most + 1; /* of one block */
        if (walk->made < pieces * line->blocks) {
            size_t before = walk->made++ % pieces * most;
            return size_min(most, line->bytes - before);
        }
        go_on(walk);
    }
    return 0;
}
