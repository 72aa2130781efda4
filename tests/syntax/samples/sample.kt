package demo

import kotlin.math.max

interface Shape {
    fun area(): Double
}

class Square(private val side: Double) : Shape {
    val name: String
        get() {
            return "x ${side.let { "{$it" }} }"
        }

    init {
        require(side > 0)
    }

    override fun area(): Double {
        for (i in 1..3) {
            if (i == '{'.code) {
                continue
            } else {
                break
            }
        }
        val text = """
            { "raw"
        """
        try {
            run()
        } catch (e: Exception) {
            throw e
        } finally {
            close()
        }
        listOf(1).forEach {
            println(it)
        }
        when (side) {
            1.0 -> {
                return 1.0
            }
            else -> return 2.0
        }
    }

    companion object {
        const val MAX = 1
    }
}

enum class Kind {
    ONE, TWO
}

fun twice(n: Int) = 2 * n

object Single {
    fun run() {
        while (true) {
            break
        }
    }
}
