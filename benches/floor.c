/* The least that any reader of such a stream can do, in C: the floor of the figures.
 *
 * It knows one line end (LF), one shape of an event (a single "data: " line and a blank
 * one) and one place of the key. Nothing is checked, decoded or counted. */
#define _GNU_SOURCE
#include <stddef.h>
#include <string.h>

#define DELTA "\"delta\":{"
#define OLD "\"reasoning\":"
#define NEW "\"reasoning_content\":"
#define LENGTH(literal) (sizeof(literal) - 1)

/* The start of the next block; NULL where none is complete. */
static const char *block_end(const char *at, const char *end)
{
    const char *line;

    while ((line = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        at = line + 1;
        if (at < end && *at == '\n')
            return at + 1;
    }
    return NULL;
}

/* How many complete events there are in the stream. */
size_t count_events(const char *stream, size_t size)
{
    const char *end = stream + size;
    size_t events = 0;

    while ((stream = block_end(stream, end)) != NULL)
        events++;
    return events;
}

/* Copy the complete events of the stream to out, with the first key of each delta renamed if
 * it is the one, and return how many bytes they are. out has room for what the longer key
 * takes more in each event. */
size_t rename_key(const char *stream, size_t size, char *out)
{
    const char *end = stream + size;
    const char *next;
    char *to = out;

    while ((next = block_end(stream, end)) != NULL) {
        const char *key = memmem(stream, (size_t)(next - stream), DELTA, LENGTH(DELTA));

        if (key != NULL)
            key += LENGTH(DELTA);
        if (key != NULL && (size_t)(next - key) >= LENGTH(OLD)
            && memcmp(key, OLD, LENGTH(OLD)) == 0) {
            memcpy(to, stream, (size_t)(key - stream));
            to += key - stream;
            memcpy(to, NEW, LENGTH(NEW));
            to += LENGTH(NEW);
            stream = key + LENGTH(OLD);
        }
        memcpy(to, stream, (size_t)(next - stream));
        to += next - stream;
        stream = next;
    }
    return (size_t)(to - out);
}
