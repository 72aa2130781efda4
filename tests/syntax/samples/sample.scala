package demo

import scala.collection.{immutable, mutable}
import java.util.{
  List,
  Map,
}

trait Shape {
  def area: Double
}

case class Square(side: Double) extends Shape {
  def area: Double = side * side

  def each(f: Int => Unit): Unit = {
    for (i <- 0 to 3) {
      if (i == '{') {
        f(i)
      } else {
        f(0)
      }
    }
    val text = s"a ${List(1).map { x => x }} }"
    val raw = """ { "raw" """
    try {
      f(1)
    } catch {
      case e: Exception => throw e
    } finally {
      f(2)
    }
    side match {
      case 1.0 => f(1)
      case _ =>
        f(2)
    }
    List(1).foreach { x =>
      f(x)
    }
    while (true) {
      f(3)
    }
  }
}

object Square {
  val Max = 1
}
