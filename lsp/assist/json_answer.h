// JSON in what a model says: the document it was asked for, whatever stands around it, and what is whole of
// one that ends too early.
//
// Pure; any thread.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace cambium::assist {

/// The first whole JSON object in a model's answer, whatever stands around it; empty if there is none.
std::string_view first_object(std::string_view answer);

/// Views into the answer.
struct HalfDocument {
  std::string_view text;                ///< from its first byte to the answer's end
  std::vector<std::string_view> items;  ///< the objects of its list that are whole, in their order
};
/// The object {"<key>": [{…}, {…}, … that the answer ends inside of; nothing if there is none, or if what
/// there is of it could not begin a JSON document. An answer's last code fence and white space don't count.
std::optional<HalfDocument> half_document(std::string_view answer, std::string_view key);

}  // namespace cambium::assist
