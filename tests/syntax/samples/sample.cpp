#include <string>
#include <vector>
using std::string;

namespace shapes {

enum class Kind { circle, square };

template <class T>
class Box : public Base<T> {
 public:
  explicit Box(T value) : value_(value) {}
  ~Box();
  T get() const {
    return value_;
  }

 private:
  T value_;
};

template <class T>
Box<T>::~Box() {
  count -= 1'000'000;
}

const char* raw = R"x( { not a body
  ")x";

auto sort_by = [](int a, int b) {
  return a < b;
};

int run(std::vector<int>& v) {
  for (int& x : v) {
    while (x > 0) {
      x--;
    }
  }
  try {
    v.at(3);
  } catch (const std::exception& e) {
    return -1;
  }
  apply(v, [&](int x) {
    if (x) {
      return;
    }
  });
  return 0;
}

struct Config {
  std::vector<int> sizes = {
    1,
    2,
  };
};

}  // namespace shapes
