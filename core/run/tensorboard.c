/* tensorboard.c - event files; see outputs.h.
 *
 * The messages, by tensorflow/core/util/event.proto and framework/summary.proto:
 *   Event    { double wall_time = 1; int64 step = 2; string file_version = 3;
 *              Summary summary = 5; }
 *   Summary  { repeated Value value = 1; }
 *   Value    { string tag = 1; float simple_value = 2; }
 */
#include "run/outputs.h"

#include "run/crc.h"

#include <math.h>
#include <string.h>

enum { VARINT = 0, DOUBLE = 1, BYTES = 2, FLOAT = 5 };

static void
put_varint(mete_buffer *out, uint64_t value)
{
    for (; value > 127; value >>= 7)
        mete_buffer_byte(out, (char)(value | 128));
    mete_buffer_byte(out, (char)value);
}

static void
put_key(mete_buffer *out, unsigned field, unsigned wire)
{
    put_varint(out, field << 3 | wire);
}

/* The low `bytes` of a number, the least first. */
static void
put_little(mete_buffer *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        mete_buffer_byte(out, (char)(value >> 8 * i));
}

static void
put_bytes(mete_buffer *out, unsigned field, const char *data, size_t length)
{
    put_key(out, field, BYTES);
    put_varint(out, length);
    mete_buffer_append(out, data, length);
}

static void
put_wall(mete_buffer *out, double wall)
{
    uint64_t bits;
    memcpy(&bits, &wall, sizeof bits);
    put_key(out, 1, DOUBLE);
    put_little(out, bits, 8);
}

/* A checksum of data that holds checksums itself is weak, so it is rotated and shifted. */
static uint32_t
masked(const char *data, size_t length)
{
    uint32_t crc = mete__crc32c(0, data, length);
    return (crc >> 15 | crc << 17) + 0xa282ead8;
}

static void
put_record(mete_buffer *out, const mete_buffer *data)
{
    size_t at = out->length;
    if (data->status) {
        out->status = data->status;
        return;
    }
    put_little(out, data->length, 8);
    if (!out->status)
        put_little(out, masked(out->data + at, 8), 4);
    mete_buffer_append(out, data->data, data->length);
    put_little(out, masked(data->data, data->length), 4);
}

void
mete__tensorboard_begin(mete_buffer *out, double wall)
{
    mete_buffer event = mete_buffer_make(0);
    put_wall(&event, wall);
    put_bytes(&event, 3, "brain.Event:2", strlen("brain.Event:2"));
    put_record(out, &event);
    mete_buffer_free(&event);
}

void
mete__tensorboard_metrics(mete_buffer *out, double wall, uint64_t iteration,
                          const char *const *name, const double *value, size_t count)
{
    mete_buffer event = mete_buffer_make(0), summary = mete_buffer_make(0);
    for (size_t i = 0; i < count; i++) {
        float scalar = (float)value[i];
        uint32_t bits;
        size_t length = strlen(name[i]), varint = 1;
        if (!isfinite(value[i]))
            continue;
        memcpy(&bits, &scalar, sizeof bits);
        for (size_t n = length; n > 127; n >>= 7)
            varint++;
        put_key(&summary, 1, BYTES);
        put_varint(&summary, 1 + varint + length + 5);
        put_bytes(&summary, 1, name[i], length);
        put_key(&summary, 2, FLOAT);
        put_little(&summary, bits, 4);
    }
    if (!summary.length) {
        out->status = out->status ? out->status : summary.status;
        return;
    }
    put_wall(&event, wall);
    put_key(&event, 2, VARINT);
    put_varint(&event, iteration);
    put_bytes(&event, 5, summary.data, summary.length);
    event.status = event.status ? event.status : summary.status;
    put_record(out, &event);
    mete_buffer_free(&event);
    mete_buffer_free(&summary);
}
