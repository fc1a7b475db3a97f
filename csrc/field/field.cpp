// The C ABI of the prediction of fields: checks the arguments, then calls the kernel.
#include "field.h"

#include "check.hpp"
#include "isa.hpp"

static bool outside(const int32_t *places, int64_t count, int64_t size) {
    int32_t least = 0, most = 0;
    for (int64_t i = 0; i < count; ++i) {
        least = places[i] < least ? places[i] : least;
        most = places[i] > most ? places[i] : most;
    }
    return least < 0 || most >= size;
}

int szilard_field_predict(const szilard_field_network *network, const szilard_field_pass *pass, int64_t *predicted,
                          int64_t predicted_room, int32_t *scales, int64_t scales_room) {
    if (network->hidden < 1 || network->hidden > 32 || (pass->neighbours != 16 && pass->neighbours != 20) ||
        pass->kind < 0 || pass->kind > 2 || pass->level < 0 || pass->level > 5 || pass->count < 0 || pass->size < 1)
        return SZILARD_BAD_GEOMETRY;
    const int64_t near = szilard_count({pass->neighbours, pass->count});
    if (near < 0 || outside(pass->targets, pass->count, pass->size) || outside(pass->near, near, pass->size))
        return SZILARD_BAD_GEOMETRY;
    if (!szilard_fits(predicted, predicted_room, pass->count) || !szilard_fits(scales, scales_room, pass->count))
        return SZILARD_NO_ROOM;
    szilard_running().field_predict(*network, *pass, predicted, scales);
    return SZILARD_OK;
}
