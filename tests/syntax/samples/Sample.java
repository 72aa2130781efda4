package demo;

import java.util.List;

public class Sample<T extends Comparable<T>> implements Runnable {
  private static final int[] SIZES = {
    1, 2,
  };

  static {
    System.out.println("{");
  }

  public Sample(T value) {
    this.value = value;
  }

  @Override
  public void run() {
    for (int size : SIZES) {
      if (size == '{') {
        continue;
      } else {
        break;
      }
    }
    String text = """
        a "quoted" {
        """;
    try (var in = open()) {
      in.read();
    } catch (Exception e) {
      throw e;
    } finally {
      close();
    }
    list.forEach(x -> {
      use(x);
    });
    switch (text) {
      case "a" -> {
        return;
      }
      default -> close();
    }
    new Thread() {
      public void run() {
        close();
      }
    };
  }

  interface Visitor {
    void visit(Sample<?> sample);
  }

  enum Kind {
    ONE, TWO;
  }

  record Point(int x, int y) {
    Point {
      check(x);
    }
  }
}
