/* Functions of many shapes, which call each other at random: what the unwinder is held to.

   Every one has the signature of `shape`, so that any can be above any other on a stack. No C library. */

typedef unsigned long long u64;
typedef long long i64;
typedef __builtin_va_list va_list;
#define APART __attribute__((noinline))

typedef i64 shape(int depth, i64 x);

int _fltused;
volatile i64 sink;
volatile double sink_of_doubles;
static u64 state;

__declspec(noreturn) void leave(void);
i64 on_other_stack(shape *to, int depth, i64 x);
i64 in_machine_frame(shape *to, int depth, i64 x);
extern shape *const assembled[];
extern const unsigned assembled_count;

static u64 chance(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 0x2545F4914F6CDD1DULL >> 8;
}

i64 again(int depth, i64 x);

/* --- leaf functions ---------------------------------------------------------------------------- */

APART i64 leaf(int depth, i64 x) { return x * 3 + depth + sink; }

APART i64 leaf_with_a_loop(int depth, i64 x) {
    i64 sum = 0;
    for (int index = 0; index < (x & 7); index++)
        sum += sink ^ index;
    return sum + depth;
}

APART double leaf_of_doubles(double a, double b) { return a * b + sink_of_doubles; }

/* --- nonvolatile registers --------------------------------------------------------------------- */

APART i64 one_register(int depth, i64 x) {
    i64 y = again(depth, x + 1);
    return y + x;
}

APART i64 all_registers(int depth, i64 x) {
    i64 a = again(0, x), b = again(0, a), c = again(0, b), d = again(0, c), e = again(0, d), f = again(0, e);
    i64 g = again(depth, f);
    sink = a ^ b;
    again(0, c ^ d);
    return a + b * 3 + c * 5 + d * 7 + e * 11 + f * 13 + g * 17 + x;
}

APART i64 all_doubles(int depth, i64 x) {
    double a = (double)x, b = leaf_of_doubles(a, 2), c = leaf_of_doubles(b, 3), d = leaf_of_doubles(c, a);
    double e = leaf_of_doubles(d, b), f = leaf_of_doubles(e, c), g = leaf_of_doubles(f, d), h = leaf_of_doubles(g, a);
    double i = leaf_of_doubles(h, 5), j = leaf_of_doubles(i, 6);
    i64 k = again(depth, x);
    sink_of_doubles = a + b * c + d * e + f * g + h + i * j;
    return k + (i64)(a + d + g) + (i64)sink_of_doubles;
}

APART i64 both(int depth, i64 x) {
    double a = (double)x, b = leaf_of_doubles(a, 7), c = leaf_of_doubles(b, a);
    i64 d = again(depth, x), e = again(0, d), f = again(0, e);
    sink_of_doubles = a * b + c;
    return d + e * f + (i64)c;
}

/* --- frames ------------------------------------------------------------------------------------ */

APART void touch(volatile char *at, int size) {
    for (int index = 0; index < size; index += 512)
        at[index] = (char)index;
}

APART i64 medium_frame(int depth, i64 x) {
    volatile char room[600];
    touch(room, sizeof room);
    return again(depth, x) + room[512];
}

APART i64 large_frame(int depth, i64 x) {
    volatile char room[9000];
    touch(room, 1024);
    i64 y = again(depth, x);
    return y + room[512] + x;
}

APART i64 huge_frame(int depth, i64 x) {
    volatile char room[0x90000]; /* more than the scaled form of the unwind code can say */
    touch(room, 1024);
    return again(0, x) + room[0] + depth;
}

APART i64 dynamic_frame(int depth, i64 x) {
    int size = (int)(x & 0xFFF) + 16;
    volatile char *room = __builtin_alloca(size);
    touch(room, size);
    return again(depth, x) + room[0];
}

APART i64 dynamic_with_everything(int depth, i64 x) {
    double a = (double)x, b = leaf_of_doubles(a, 3);
    i64 c = again(0, x), d = again(0, c), e = again(0, d), f = again(0, e);
    volatile char *room = __builtin_alloca((x & 0x3FF) + 8);
    touch(room, 8);
    i64 g = again(depth, f);
    volatile char *more = __builtin_alloca((g & 0x3FF) + 8);
    touch(more, 8);
    i64 h = again(0, g);
    sink_of_doubles = a * b;
    return c + d * e + f * g + h + room[0] + more[0];
}

APART i64 aligned_frame(int depth, i64 x) {
    _Alignas(64) volatile char room[192];
    touch(room, 192);
    i64 y = again(depth, x);
    return y + room[64] + x;
}

APART i64 aligned_and_dynamic(int depth, i64 x) {
    _Alignas(64) volatile char room[64];
    volatile char *more = __builtin_alloca((x & 0xFF) + 8);
    touch(room, 64);
    touch(more, 8);
    return again(depth, x) + room[0] + more[0];
}

/* --- ways out ---------------------------------------------------------------------------------- */

APART i64 tail_call(int depth, i64 x) {
    i64 y = again(0, x);
    __attribute__((musttail)) return again(depth, y + x);
}

static shape *volatile pointer = leaf;
static shape *table_of_pointers[2] = {leaf, leaf_with_a_loop};

APART i64 tail_call_by_pointer(int depth, i64 x) {
    i64 y = again(0, x) + x;
    shape *to = pointer;
    __attribute__((musttail)) return to(depth, y);
}

APART i64 tail_call_by_table(int depth, i64 x) {
    i64 y = again(0, x) + x;
    __attribute__((musttail)) return table_of_pointers[y & 1](depth, y);
}

APART i64 tail_call_of_itself(int depth, i64 x) {
    i64 y = again(0, x);
    if ((y & 3) == 0 || depth <= 0)
        return y;
    __attribute__((musttail)) return tail_call_of_itself(depth - 1, y);
}

APART i64 many_ways_out(int depth, i64 x) {
    i64 y = again(0, x);
    if (y & 1)
        return again(depth, y) + x;
    if (y & 2) {
        y += again(0, y);
        if (y & 4)
            return y - x;
        sink = y;
        return again(depth, y ^ x) * 3;
    }
    for (int index = 0; index < 3; index++) {
        y += again(0, index) + x;
        if (y & 8)
            return y;
    }
    return again(depth - 1, y) - again(0, x);
}

APART i64 early_way_out(int depth, i64 x) {
    if (x & 1)
        return sink;
    i64 a = again(0, x), b = again(0, a), c = again(depth, b);
    return a + b * c + x;
}

APART i64 switched(int depth, i64 x) {
    i64 y = x;
    switch (chance() % 9) {
    case 0: y = again(depth, x) + 1; break;
    case 1: y = again(0, x) * again(0, y); break;
    case 2: return again(depth, 2) - x;
    case 3: sink = x; break;
    case 4: return x;
    case 5: y = again(0, sink) ^ x; /* and on */
    case 6: y += again(depth, y); break;
    case 7: return leaf(depth, y);
    default: y = leaf_with_a_loop(depth, x) + x;
    }
    return again(0, y) + x;
}

APART __declspec(noreturn) void give_up(int depth, i64 x) {
    i64 y = again(depth, x);
    sink = y + x;
    leave();
}

APART i64 may_give_up(int depth, i64 x) {
    i64 y = again(0, x) + x;
    if (chance() % 64 == 0)
        give_up(depth, y);
    return again(depth, y);
}

__attribute__((cold)) APART i64 unlikely(i64 x) { return sink + x * 5; }

APART i64 with_a_cold_part(int depth, i64 x) {
    i64 y = again(depth, x);
    if (__builtin_expect(chance() % 4 == 0, 0)) {
        y += unlikely(y) + unlikely(x);
        sink = y;
        y -= unlikely(sink) * again(0, y);
    }
    return y + x;
}

/* --- recursion --------------------------------------------------------------------------------- */

APART i64 even(int left, i64 x);

APART i64 odd(int left, i64 x) {
    if (left <= 0)
        return again(0, x);
    return even(left - 1, x + left) + x;
}

APART i64 even(int left, i64 x) {
    volatile i64 kept = x;
    if (left <= 0)
        return again(0, x);
    return odd(left - 1, x * 3) - kept;
}

APART i64 deep(int depth, i64 x) { return odd((int)(x & 15) + depth, x) + 1; }

/* --- arguments --------------------------------------------------------------------------------- */

APART i64 sum(int count, ...) {
    va_list list;
    i64 total = 0;
    __builtin_va_start(list, count);
    for (int index = 0; index < count; index++)
        total += __builtin_va_arg(list, i64) + again(0, index);
    __builtin_va_end(list);
    return total;
}

APART i64 varargs(int depth, i64 x) { return sum(6, x, x + 1, (i64)depth, x + 2, x + 3, again(depth, x)); }

struct big { i64 fields[12]; };

APART struct big filled(int depth, i64 x) {
    struct big made;
    for (int index = 0; index < 12; index++)
        made.fields[index] = again(0, x + index);
    made.fields[3] = again(depth, x);
    return made;
}

APART i64 many_arguments(i64 a, i64 b, i64 c, i64 d, i64 e, double f, i64 g, struct big h) {
    i64 y = again(0, a);
    return y + a + b + c * d + e + (i64)f + g + h.fields[3] + h.fields[11];
}

APART i64 structures(int depth, i64 x) {
    struct big made = filled(depth, x);
    return many_arguments(x, depth, 3, 4, 5, (double)x, 7, made) + made.fields[0];
}

/* --- exception handling: handlers of their own, funclets --------------------------------------- */

int __C_specific_handler(void) { return 0; }

APART i64 guarded(int depth, i64 x) {
    i64 y = 0;
    __try {
        y = again(depth, x);
    } __finally {
        sink = again(0, y) + x;
        y += sink;
    }
    return y;
}

/* --- other stacks ------------------------------------------------------------------------------ */

static int on_it;

APART i64 switches_stacks(int depth, i64 x) {
    i64 y = x;
    if (!on_it) {
        on_it = 1;
        y = chance() & 1 ? on_other_stack(again, depth, x) : in_machine_frame(again, depth, x);
        on_it = 0;
    }
    return y + again(0, x) + x;
}

static shape *const shapes[] = {
    leaf, leaf_with_a_loop, one_register, all_registers, all_doubles, both, medium_frame, large_frame,
    huge_frame, dynamic_frame, dynamic_with_everything, aligned_frame, aligned_and_dynamic, tail_call,
    tail_call_by_pointer, tail_call_by_table, tail_call_of_itself, many_ways_out, early_way_out, switched,
    may_give_up, with_a_cold_part, deep, varargs, structures, guarded, switches_stacks,
};

APART i64 again(int depth, i64 x) {
    if (depth <= 0)
        return chance() & 1 ? leaf(depth, x) : leaf_with_a_loop(depth, x);
    u64 which = chance() % (sizeof shapes / sizeof *shapes + assembled_count);
    if (which < assembled_count)
        return assembled[which](depth - 1, x);
    return shapes[which - assembled_count](depth - 1, x);
}

/* What an interrupt does. */
void serve(void) { sink = again(2, sink); }

i64 run(u64 seed) {
    state = seed | 1;
    on_it = 0;
    pointer = (chance() & 1) ? again : leaf;
    table_of_pointers[0] = (chance() & 1) ? again : one_register;
    i64 x = (i64)chance();
    for (int index = 0; index < 4; index++)
        x += again((int)(chance() % 6) + 1, x);
    return x;
}
