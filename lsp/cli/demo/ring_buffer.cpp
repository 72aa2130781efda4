// A queue of fixed capacity that overwrites its oldest element when it is full.
#include <cstddef>
#include <iostream>
#include <stdexcept>
#include <vector>

template <typename T>
class RingBuffer {
 public:
  explicit RingBuffer(std::size_t capacity) : data_(capacity) {
    if (capacity == 0) {
      throw std::invalid_argument("capacity must not be zero");
    }
  }

  bool empty() const { return size_ == 0; }
  bool full() const { return size_ == 
  std::size_t size() const { return size_; }

  void push(const T& value) {
    const std::size_t tail = (head_ + size_) % data_.size();
    data_[tail] = value;
    if (full()) {
      head_ = (head_ + 1) % data_.size();
    } else {
      ++size_;
    }
  }

  T pop() {
    if (empty()) {
      throw std::out_of_range("the buffer is empty");
    }
    
  }

  const T& at(std::size_t index) const {
    if (index >= size_) {
      throw std::out_of_range("no such element");
    }
    return data_[(head_ + index) % data_.size()];
  }

  void clear() {
    head_ = 0;
    size_ = 0;
  }

 private:
  std::vector<T> data_;
  std::size_t head_ = 0;
  std::size_t size_ = 0;
};

int main() {
  RingBuffer<int> buffer(3);
  for (int i = 0; i < 5; ++i) {
    buffer.push(i);
  }
  while (!buffer.empty()) {
    std::cout << buffer.pop() << '\n';
  }
  return 0;
}
