<html><body class="{">
<?php
namespace App\Models;

use App\{Base, Other};

# a comment {
interface Shape
{
    public function area(): float;
}

class Square extends Base implements Shape
{
    private float $side = 1.0;

    public function __construct(float $side)
    {
        $this->side = $side;
    }

    public function area(): float
    {
        foreach ([1, 2] as $x) {
            if ($x == '{') {
                continue;
            } elseif ($x > 1) {
                break;
            } else {
                echo "{$x} }";
            }
        }
        $f = function ($x) use ($y) {
            return <<<EOT
            { not a body
            EOT;
        };
        try {
            $f(1);
        } catch (\Exception $e) {
            throw $e;
        }
        switch ($x) {
            case 1:
                return 2;
        }
        return match ($x) {
            1 => 2,
            default => 3,
        };
    }
}

function helper($a) {
    return $a;
}
?>
</body></html>
