/* What compiled parts share: how functions are built, queries in whole numbers, and arrays that a call looks into. */

#ifndef MOLSIG_BUFFERS_H
#define MOLSIG_BUFFERS_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <stdint.h>
#include <string.h>

/* One build for every processor of a kind: the loader takes the variant for the one at hand. */
#if defined(__x86_64__) && defined(__GLIBC__) && (defined(__GNUC__) && !defined(__clang__))
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

#if defined(__GNUC__)
#define FETCH(address) __builtin_prefetch(address)
/* A variant for a processor has to hold all that it does: what it called would be built for the default one. */
#define ALWAYS __attribute__((always_inline))
#else
#define FETCH(address)
#define ALWAYS
#endif

#define DIM 768
/* Steps of 16 bits that a length of 1 is made of. */
#define UNIT 32000

/* A query of unit length, rounded to steps. */
static ALWAYS inline void in_steps(const float *query, int16_t *steps)
{
    for (int place = 0; place < DIM; place++) {
        const float step = query[place] * UNIT + (query[place] < 0 ? -0.5f : 0.5f);
        /* What is not a number fails the comparison. */
        steps[place] = (int16_t)(step > UNIT ? UNIT : step >= -UNIT ? step : -UNIT);
    }
}

typedef struct {
    const char *kinds; /* of a number, as the buffer protocol spells them */
    Py_ssize_t size; /* in bytes, 0 for any */
    int written;
} Kind;

/* Arrays that a call looks into. */
typedef struct {
    Py_buffer held[12];
    int count;
} Arrays;

static inline void let_go(Arrays *arrays)
{
    while (arrays->count)
        PyBuffer_Release(&arrays->held[--arrays->count]);
}

/* Where the numbers of a contiguous array begin, and how many there are; NULL with an error set. */
static inline void *look_into(Arrays *arrays, PyObject *array, const Kind *kind, Py_ssize_t *numbers)
{
    Py_buffer *memory = &arrays->held[arrays->count];
    const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (kind->written ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(array, memory, flags) < 0)
        return NULL;
    arrays->count++;
    if ((kind->size && memory->itemsize != kind->size) || !memory->format || !memory->format[0] || memory->format[1] ||
        !strchr(kind->kinds, memory->format[0])) {
        PyErr_Format(PyExc_TypeError, "an array of kind %s; expected one of %s",
                     memory->format ? memory->format : "bytes", kind->kinds);
        return NULL;
    }
    *numbers = memory->len / memory->itemsize;
    return memory->buf;
}

static inline PyObject *refused(Arrays *arrays, PyObject *error, const char *why)
{
    let_go(arrays);
    if (why)
        PyErr_SetString(error, why);
    return NULL;
}

#endif
