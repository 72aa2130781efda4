// Adapters: structure keys and tensors, and low-rank updates of matrices (Hu et al. 2021), laid over a
// model file of architecture `llama` when it is loaded. Written by engine/training/adapter.py.
#pragma once

#include <memory>
#include <string>

#include "engine/gguf.h"
#include "engine/result.h"

namespace cambium::engine {

/// What an adapter file holds, for people.
struct AdapterInfo {
  int32_t updates = 0;    ///< matrices with an update
  int32_t rank = 0;       ///< the largest
  float alpha = 0;        ///< an update counts alpha / rank
  int32_t structure = 0;  ///< tensors of the structure
};

/// True for a file that says it is an adapter (`general.type`).
bool is_adapter(const GgufFile& file);
/// bad_format, unsupported: what is wrong with it, naming file and tensor.
Result<AdapterInfo> adapter_info(const GgufFile& file);

/// The model that base and adapter are together, in memory:
///     W + alpha/rank · B·A     blk.N.NAME.weight with its .lora_a [rank, in] and .lora_b [out, rank]
/// F32 and F16 matrices stay what they are, BF16 becomes F16, quantized ones Q8_0 (F16 where rows are no
/// multiple of 32); all others are copied bit by bit. Takes memory for the whole file.
/// Errors: bad_format (no adapter, an update without its matrix or of another shape), unsupported (a
/// base with a structure of its own, or of another architecture); the message names file and tensor.
Result<std::shared_ptr<const GgufFile>> lay_adapter(const GgufFile& base,
                                                    const std::string& adapter);

}  // namespace cambium::engine
