// Binary range coder (Martin 1979; carries as in the byte-wise coders of Subbotin and Pavlov): 32 bits of range, 16
// bits of probability. The first byte of such a coder is always zero and is not written; trailing zeros among the last
// four are not written either.
//
// Bound on the bytes: a decision costs -log2 of the share of the range that it keeps. The range, at least 2^24, loses
// its last 16 bits before it is multiplied, so a bit 1 keeps at least 256/257 of p, and a bit 0 at least 1 - p. A plain
// bit keeps 1/2 to within 2^-24. A decision therefore costs at most -log2 p + log2(257/256) bits. The range begins
// below 2^32 and ends at 2^24 or above, so n decisions of b bits shift out at most (b + n log2(257/256)) / 8 + 1 bytes.
#pragma once
#include <stdint.h>

#include "levels.hpp"

// State between two calls, as uint64_t[4]; starts as {0, 0xFFFFFFFF, 0, 0}.
struct RangeEncoder {
    uint64_t low, range;
    uint64_t held;     // 256 + the last byte that a carry can still change; 0 before there is one
    uint64_t pending;  // 0xFF bytes after it
};

class Encode {
public:
    Encode(RangeEncoder &state, uint8_t *out, int64_t room) : s_(state), begin_(out), out_(out), end_(out + room) {}

    bool bit(levels::Context &context, bool value) {
        const uint64_t bound = (s_.range >> 16) * context.one;
        if (value) {
            s_.range = bound;
        } else {
            s_.low += bound;
            s_.range -= bound;
        }
        renormalise();
        context.see(value);
        return value;
    }

    bool plain(bool value) {
        s_.range >>= 1;
        if (value) s_.low += s_.range;
        renormalise();
        return value;
    }

    // The number in the remaining interval that has most trailing zeros.
    void finish() {
        for (int zeros = 31; zeros >= 0; --zeros) {
            const uint64_t unit = (uint64_t)1 << zeros, rounded = (s_.low + unit - 1) & ~(unit - 1);
            if (rounded < s_.low + s_.range) {
                s_.low = rounded;
                break;
            }
        }
        for (int i = 0; i < 5; ++i) shift();
        for (int i = 0; i < 4 && out_ > begin_ && out_[-1] == 0; ++i) --out_;
    }

    int64_t written() const { return out_ - begin_; }

    // Whether there was too little room; the output is not valid then.
    bool full() const { return full_; }

private:
    void renormalise() {
        while (s_.range < ((uint64_t)1 << 24)) {
            s_.range <<= 8;
            shift();
        }
    }

    void shift() {
        if (s_.low < 0xFF000000u || s_.low > 0xFFFFFFFFu) {  // no carry can change the bytes before
            const uint8_t carry = (uint8_t)(s_.low >> 32);
            if ((s_.held != 0) + s_.pending > (uint64_t)(end_ - out_)) {
                full_ = true;
            } else {
                if (s_.held) *out_++ = (uint8_t)(s_.held + carry);
                for (; s_.pending; --s_.pending) *out_++ = (uint8_t)(0xFF + carry);
            }
            s_.held = 256 + ((s_.low >> 24) & 0xFF);
        } else {
            ++s_.pending;
        }
        s_.low = (s_.low & 0x00FFFFFF) << 8;
    }

    RangeEncoder &s_;
    uint8_t *begin_, *out_, *end_;
    bool full_ = false;
};

// State between two calls, as uint64_t[3]; starts as {0, 0, 0}: a range of 0 means that nothing has been read yet.
struct RangeDecoder {
    uint64_t range, code, position;
};

class Decode {
public:
    static constexpr uint64_t BEYOND = 4;  // zeros that were not written

    Decode(RangeDecoder &state, const uint8_t *data, uint64_t size) : s_(state), data_(data), size_(size) {
        if (s_.range) return;
        s_.range = 0xFFFFFFFFu;
        for (int i = 0; i < 4; ++i) s_.code = s_.code << 8 | next();
    }

    bool bit(levels::Context &context, bool) {
        const uint64_t bound = (s_.range >> 16) * context.one;
        const bool value = s_.code < bound;
        if (value) {
            s_.range = bound;
        } else {
            s_.code -= bound;
            s_.range -= bound;
        }
        renormalise();
        context.see(value);
        return value;
    }

    bool plain(bool) {
        s_.range >>= 1;
        const bool value = s_.code >= s_.range;
        if (value) s_.code -= s_.range;
        renormalise();
        return value;
    }

    bool ended() const { return s_.position > size_ + BEYOND; }

private:
    void renormalise() {
        while (s_.range < ((uint64_t)1 << 24)) {
            s_.range <<= 8;
            s_.code = (s_.code << 8 | next()) & 0xFFFFFFFFu;
        }
    }

    uint64_t next() {
        const uint64_t at = s_.position++;
        return at < size_ ? data_[at] : 0;
    }

    RangeDecoder &s_;
    const uint8_t *data_;
    uint64_t size_;
};

// A decoder that also counts the code length of its decisions under the model, as levels::Price does for the same
// levels.
class PricedDecode {
public:
    explicit PricedDecode(Decode &io) : io_(io), lengths_(levels::code_lengths()) {}

    bool bit(levels::Context &context, bool) {
        const uint16_t one = context.one;
        const bool value = io_.bit(context, false);
        bits_ += lengths_[value ? one : 65536 - one];
        return value;
    }

    bool plain(bool) {
        bits_ += 1;
        return io_.plain(false);
    }

    double bits() const { return bits_; }

private:
    Decode &io_;
    const float *lengths_;
    double bits_ = 0;
};
